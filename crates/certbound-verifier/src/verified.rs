//! What a resource learns of a request that is accepted.

use std::fmt;
use std::sync::Arc;

use certbound_core::certificate::Thumbprint;
use certbound_core::jwt::Claims;
use certbound_core::time::UnixTime;

use crate::authorization::Scheme;
use crate::policy::{client_of, roles_of, scopes_of};

/// A request's token, accepted: signature, issuer, audience, times, binding and permission were checked. Only a
/// [`Verifier`](crate::Verifier) makes one. Cheap to clone; `Debug` shows no claims but the client's.
#[derive(Clone)]
pub struct Verified(Arc<Inner>);

struct Inner {
    claims: Claims,
    scheme: Scheme,
    thumbprint: Option<Thumbprint>,
    expires_at: UnixTime,
}

impl Verified {
    pub(crate) fn new(
        claims: Claims,
        scheme: Scheme,
        thumbprint: Option<Thumbprint>,
        expires_at: UnixTime,
    ) -> Self {
        Self(Arc::new(Inner { claims, scheme, thumbprint, expires_at }))
    }

    /// The claims.
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// The application that calls: its client id.
    pub fn client_id(&self) -> Option<&str> {
        client_of(&self.0.claims)
    }

    /// The tenant's id; none for issuers other than Entra.
    pub fn tenant_id(&self) -> Option<&str> {
        self.0.claims.string("tid")
    }

    /// The caller's object id in its tenant; none for issuers other than Entra.
    pub fn object_id(&self) -> Option<&str> {
        self.0.claims.string("oid")
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.0.claims.string("sub")
    }

    /// The application roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        roles_of(&self.0.claims)
    }

    /// The delegated scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        scopes_of(&self.0.claims)
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
