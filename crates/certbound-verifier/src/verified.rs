//! The facts about a request that the verifier accepted.

use std::fmt;
use std::sync::Arc;

use certbound_core::certificate::Thumbprint;
use certbound_core::jwt::Claims;
use certbound_core::time::UnixTime;

use crate::authorization::Scheme;
use crate::reading::Reading;

/// The accepted token of a request: signature, issuer, audience, times, binding and permission were checked. Only a
/// [`Verifier`](crate::Verifier) creates this value. The value is cheap to clone. `Debug` shows client, tenant,
/// thumbprint and expiry only.
#[derive(Clone)]
pub struct Verified(Arc<Facts>);

pub(crate) struct Facts {
    pub(crate) claims: Claims,
    pub(crate) reading: Reading,
    pub(crate) scheme: Scheme,
    pub(crate) thumbprint: Option<Thumbprint>,
    pub(crate) expires_at: UnixTime,
}

impl Verified {
    pub(crate) fn new(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }

    /// The claims.
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// The client id of the calling application.
    pub fn client_id(&self) -> Option<&str> {
        // The verifier has refused claims that contradict each other, so no error can occur here.
        self.0.reading.client(&self.0.claims).unwrap_or_default()
    }

    /// The tenant's id. The result is `None` for issuers other than Entra.
    pub fn tenant_id(&self) -> Option<&str> {
        self.of_entra("tid")
    }

    /// The caller's object id in its tenant. The result is `None` for issuers other than Entra.
    pub fn object_id(&self) -> Option<&str> {
        self.of_entra("oid")
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.0.claims.string("sub")
    }

    /// The application roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.0.reading.roles(&self.0.claims)
    }

    /// The scopes. At Entra only a user's token has scopes; at other issuers every token may have scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.reading.scopes(&self.0.claims)
    }

    /// The scheme under which the token was sent.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// The thumbprint of the certificate that the token is bound to. The connection has this certificate. The result is
    /// `None` for an unbound token.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        self.0.thumbprint
    }

    /// The time at which the token expires.
    pub fn expires_at(&self) -> UnixTime {
        self.0.expires_at
    }

    /// Returns a claim of an Entra token. At other issuers, the claim of this name may have a different meaning.
    fn of_entra(&self, claim: &str) -> Option<&str> {
        matches!(self.0.reading, Reading::Entra).then(|| self.0.claims.string(claim)).flatten()
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("client_id", &self.client_id())
            .field("tenant_id", &self.tenant_id())
            .field("x5t#S256", &self.thumbprint().map(|thumbprint| thumbprint.x5t_s256()))
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
