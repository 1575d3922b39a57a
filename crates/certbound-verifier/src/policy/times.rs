//! The times between which a token is valid.

use certbound_core::jwt::{Claims, NumericDate};
use certbound_core::time::UnixTime;

use super::Policy;
use crate::refusal::Refusal;
use crate::verified::Verified;

impl Policy {
    /// Checks the times (RFC 7519, sections 4.1.4 to 4.1.6). `exp` is required. A fraction of a second shortens the
    /// validity: the method rounds `exp` down, and the start of the validity up. It measures the age from `iat`,
    /// rounded down.
    pub(crate) fn check_times(&self, claims: &Claims, now: UnixTime) -> Result<UnixTime, Refusal> {
        let (not_before, issued) = (date(claims, "nbf")?, date(claims, "iat")?);
        let end = date(claims, "exp")?.ok_or(Refusal::MalformedTime { claim: "exp" })?;
        let expires = end.floor();
        if now >= expires.plus(self.leeway) {
            return Err(Refusal::Expired { expired: expires, now });
        }
        for begin in [not_before, issued].into_iter().flatten() {
            let from = begin.ceil();
            if from > now.plus(self.leeway) {
                return Err(Refusal::NotYetValid { from, now });
            }
            if expires <= from || end.ceil().since(begin.floor()) > self.longest_lifetime {
                return Err(Refusal::Lifetime { from, to: expires });
            }
        }
        // A token without `nbf` and `iat` has no start, so the method compares the token's remaining lifetime with the
        // longest lifetime.
        if end.ceil().since(now.plus(self.leeway)) > self.longest_lifetime {
            return Err(Refusal::Lifetime { from: now, to: expires });
        }
        if let Some(max_age) = self.max_age {
            let issued = issued.ok_or(Refusal::MalformedTime { claim: "iat" })?.floor();
            if now > issued.plus(max_age).plus(self.leeway) {
                return Err(Refusal::TooOld { issued, now });
            }
        }
        Ok(expires)
    }

    /// Returns the time until which an accepted token may be remembered.
    pub(crate) fn good_until(&self, verified: &Verified) -> UnixTime {
        let issued = date(verified.claims(), "iat").ok().flatten();
        match (self.max_age, issued) {
            (Some(max_age), Some(issued)) => verified.expires_at().min(issued.floor().plus(max_age)),
            _ => verified.expires_at(),
        }
    }
}

fn date(claims: &Claims, claim: &'static str) -> Result<Option<NumericDate>, Refusal> {
    claims.numeric_date(claim).map_err(|_| Refusal::MalformedTime { claim })
}
