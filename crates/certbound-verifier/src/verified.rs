//! What a resource learns of a request that is accepted.

use std::fmt;
use std::sync::Arc;

use certbound_core::certificate::Thumbprint;
use certbound_core::jwt::Claims;
use certbound_core::time::UnixTime;

use crate::authorization::Scheme;
use crate::reading::Reading;

/// A request's token, accepted: signature, issuer, audience, times, binding and permission were checked. Only a
/// [`Verifier`](crate::Verifier) makes one. Cheap to clone; `Debug` shows no claims but the client's.
#[derive(Clone)]
pub struct Verified(Arc<Inner>);

struct Inner {
    claims: Claims,
    reading: Reading,
    scheme: Scheme,
    thumbprint: Option<Thumbprint>,
    expires_at: UnixTime,
}

impl Verified {
    pub(crate) fn new(
        claims: Claims,
        reading: Reading,
        scheme: Scheme,
        thumbprint: Option<Thumbprint>,
        expires_at: UnixTime,
    ) -> Self {
        Self(Arc::new(Inner { claims, reading, scheme, thumbprint, expires_at }))
    }

    /// The claims.
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// The application that calls: its client id.
    pub fn client_id(&self) -> Option<&str> {
        // Two that contradict each other were refused.
        self.0.reading.client(&self.0.claims).unwrap_or_default()
    }

    /// The tenant's id; none for issuers other than Entra.
    pub fn tenant_id(&self) -> Option<&str> {
        self.of_entra("tid")
    }

    /// The caller's object id in its tenant; none for issuers other than Entra.
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

    /// The scopes: a user's at Entra, whoever's elsewhere.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.reading.scopes(&self.0.claims)
    }

    /// The scheme the token came under.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// The certificate the token is bound to, which is the connection's; none for a plain token.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        self.0.thumbprint
    }

    /// When the token ends.
    pub fn expires_at(&self) -> UnixTime {
        self.0.expires_at
    }

    /// Another issuer's claim of the same name means something else.
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
