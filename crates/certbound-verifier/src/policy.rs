//! What a resource accepts, beside who issued it.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::jwt::Claims;
use certbound_core::shown::shown;
use certbound_core::time::UnixTime;

use crate::authorization::Scheme;
use crate::issuer::{Issuer, Kind};
use crate::peer::PeerCertificate;
use crate::refusal::Refusal;
use crate::verified::Verified;

/// What binding a token must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingPolicy {
    /// Every token is bound and comes under `mtls_pop`. The default.
    #[default]
    Required,
    /// Tokens without `cnf` are accepted under `Bearer`; one that has it must be satisfied, under `mtls_pop`.
    ///
    /// A stolen plain token works for whoever holds it: for a time of transition.
    WhenBound,
    /// Every token is bound, and may come under `Bearer`, as RFC 8705 has it, or under `mtls_pop`.
    Rfc8705,
}

/// Which kind of caller is accepted. Told by `idtyp` for Entra, and by `sub` and the client's id for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Callers {
    /// Applications that act for themselves. The default: bound tokens are theirs.
    #[default]
    Applications,
    /// Applications that act for a user.
    Users,
    /// Both.
    Any,
}

/// Looks at the claims of a verified token and may demand others.
pub(crate) type Demand = Arc<dyn Fn(&Claims) -> Option<String> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) audiences: HashSet<String>,
    pub(crate) several_audiences: bool,
    pub(crate) binding: BindingPolicy,
    pub(crate) callers: Callers,
    pub(crate) clients: Option<HashSet<String>>,
    pub(crate) roles: HashSet<String>,
    pub(crate) scopes: HashSet<String>,
    pub(crate) leeway: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) longest_lifetime: Duration,
    pub(crate) certificate_dates: bool,
    pub(crate) demand: Option<Demand>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("audiences", &self.audiences)
            .field("binding", &self.binding)
            .field("callers", &self.callers)
            .field("clients", &self.clients)
            .field("roles", &self.roles)
            .field("scopes", &self.scopes)
            .field("leeway", &self.leeway)
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// The scheme is told before the binding: under the wrong one no certificate would help.
    pub(crate) fn check_scheme(&self, scheme: Scheme, bound: bool) -> Result<(), Refusal> {
        match (scheme, bound) {
            (Scheme::MtlsPop, true) => Ok(()),
            (Scheme::MtlsPop, false) => Err(Refusal::UnboundUnderPop),
            (Scheme::Bearer, true) if self.binding == BindingPolicy::Rfc8705 => Ok(()),
            (Scheme::Bearer, true) => Err(Refusal::BoundUnderBearer),
            (Scheme::Bearer, false) if self.binding == BindingPolicy::WhenBound => Ok(()),
            (Scheme::Bearer, false) => Err(Refusal::BindingRequired),
        }
    }

    /// Exact texts. A list is refused unless it has one member or lists were allowed: a token that others accept too is
    /// one that others can send here.
    pub(crate) fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let found = claims.audiences();
        let ours = |audience: &&str| self.audiences.contains(*audience);
        let right = match found.as_slice() {
            [one] => ours(one),
            several => self.several_audiences && several.iter().any(ours),
        };
        if right { Ok(()) } else { Err(Refusal::Audience { found: shown(&found.join(" ")) }) }
    }

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

    /// RFC 8705, section 3: the certificate of *this* connection. Texts are compared, never decoded.
    pub(crate) fn check_binding(&self, claim: &str, peer: &PeerCertificate) -> Result<(), Refusal> {
        let found = peer.thumbprint().ok_or(Refusal::NoCertificate)?;
        if found.matches_claim(claim) {
            Ok(())
        } else {
            Err(Refusal::CertificateMismatch { bound_to: claim.to_owned(), found })
        }
    }

    pub(crate) fn check_certificate_dates(
        &self,
        peer: &PeerCertificate,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        match peer.validity() {
            Some((from, to)) if self.certificate_dates && (now < from || now > to) => {
                Err(Refusal::CertificateDates { from, to, now })
            }
            _ => Ok(()),
        }
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

    pub(crate) fn check_demand(&self, claims: &Claims) -> Result<(), Refusal> {
        match self.demand.as_ref().and_then(|demand| demand(claims)) {
            Some(claims) => Err(Refusal::ClaimsDemanded { claims }),
            None => Ok(()),
        }
    }

    /// Who calls: the kind, then the client.
    pub(crate) fn check_caller(&self, issuer: &Issuer, claims: &Claims) -> Result<(), Refusal> {
        let client = client_of(claims);
        let application = match issuer.0 {
            Kind::Entra { .. } => claims.string("idtyp") == Some("app"),
            Kind::Oidc { .. } => client.is_some() && claims.string("sub") == client,
        };
        let accepted = match self.callers {
            Callers::Applications => application,
            Callers::Users => !application && claims.string("scp").or(claims.string("scope")).is_some(),
            Callers::Any => true,
        };
        if !accepted {
            return Err(Refusal::CallerKind);
        }
        let client = client.unwrap_or_default();
        match &self.clients {
            Some(clients) if !clients.contains(&client.to_ascii_lowercase()) => {
                Err(Refusal::ClientNotAllowed { found: shown(client) })
            }
            _ => Ok(()),
        }
    }

    /// One of the roles or one of the scopes, where any is required.
    pub(crate) fn check_permission(&self, claims: &Claims) -> Result<(), Refusal> {
        if self.roles.is_empty() && self.scopes.is_empty() {
            return Ok(());
        }
        let has_role = roles_of(claims).any(|role| self.roles.contains(role));
        let has_scope = scopes_of(claims).any(|scope| self.scopes.contains(scope));
        if has_role || has_scope { Ok(()) } else { Err(Refusal::NoPermission) }
    }
}

/// `azp` in version 2 tokens, `appid` in version 1, `client_id` elsewhere (RFC 9068, section 2.2).
pub(crate) fn client_of(claims: &Claims) -> Option<&str> {
    claims.string("azp").or_else(|| claims.string("appid")).or_else(|| claims.string("client_id"))
}

pub(crate) fn roles_of(claims: &Claims) -> impl Iterator<Item = &str> {
    claims.list("roles").into_iter().flatten().filter_map(|role| role.as_str())
}

pub(crate) fn scopes_of(claims: &Claims) -> impl Iterator<Item = &str> {
    claims.string("scp").or_else(|| claims.string("scope")).unwrap_or_default().split_ascii_whitespace()
}
