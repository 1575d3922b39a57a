//! When a token is good.

use certbound_core::jwt::Claims;
use certbound_core::time::UnixTime;

use super::Policy;
use crate::refusal::Refusal;
use crate::verified::Verified;

impl Policy {
    /// RFC 7519, sections 4.1.4 to 4.1.6, with `exp` required. Whole numbers only.
    pub(crate) fn check_times(&self, claims: &Claims, now: UnixTime) -> Result<UnixTime, Refusal> {
        let time = |claim: &'static str| match claims.number(claim) {
            None if claims.contains(claim) => Err(Refusal::MalformedTime { claim }),
            seconds => Ok(seconds.map(UnixTime::from_secs)),
        };
        let (not_before, issued) = (time("nbf")?, time("iat")?);
        let expires = time("exp")?.ok_or(Refusal::MalformedTime { claim: "exp" })?;
        if now >= expires.plus(self.leeway) {
            return Err(Refusal::Expired { expired: expires, now });
        }
        for from in [not_before, issued].into_iter().flatten() {
            if from > now.plus(self.leeway) {
                return Err(Refusal::NotYetValid { from, now });
            }
            if expires <= from || expires.since(from) > self.longest_lifetime {
                return Err(Refusal::Lifetime { from, to: expires });
            }
        }
        if let Some(max_age) = self.max_age {
            let issued = issued.ok_or(Refusal::MalformedTime { claim: "iat" })?;
            if now > issued.plus(max_age).plus(self.leeway) {
                return Err(Refusal::TooOld { issued, now });
            }
        }
        Ok(expires)
    }

    /// Until when an accepted token may be remembered.
    pub(crate) fn good_until(&self, verified: &Verified) -> UnixTime {
        let issued = verified.claims().number("iat");
        match (self.max_age, issued) {
            (Some(max_age), Some(issued)) => {
                verified.expires_at().min(UnixTime::from_secs(issued).plus(max_age))
            }
            _ => verified.expires_at(),
        }
    }
}
