//! Clients, and the tokens that can be requested from them.

mod builder;
mod leg1;
mod workload_identity;

use std::fmt;
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::scope::ResourceScope;
use certbound_core::secret::Secret;

pub use self::builder::ClientBuilder;
pub use self::leg1::AcquireLeg1;
pub use self::workload_identity::{WorkloadIdentity, WorkloadIdentityError};
use crate::acquire::ClientCore;
use crate::acquire::token_service::TokenService;
pub use crate::acquire::{Acquire, AcquireFuture};
use crate::background::Background;
use crate::certificate::{BindingCertificate, Blame};
use crate::credential::{
    AssertionRequest, Binds, BoundAssertion, ByCertificate, Credential, Leg1, NoCredential,
};
use crate::error::{Error, Leg};
use crate::token::{BearerToken, BoundToken};

/// A confidential client: one application at one authority, with one kind of credential.
///
/// A clone is cheap, and clones share cache and connections. `Client<ByCertificate>` runs the direct flow and can be a
/// Leg 1. `Client<ByAssertion>` is Leg 2. `Client<BySecret>` and `Client<ByUnboundAssertion>` get only Bearer tokens.
#[derive(Clone)]
pub struct Client<C> {
    pub(crate) issuer: TokenService,
    /// The owner of the background tasks. The tasks are aborted when the last clone and the last resource of this
    /// client are dropped.
    pub(crate) background: Arc<Background>,
    pub(crate) credential: C,
}

impl Client<NoCredential> {
    /// Returns a builder of a client for the application `client_id` at `authority`. In Entra the id is a GUID.
    pub fn builder(authority: Authority, client_id: impl Into<String>) -> ClientBuilder<NoCredential> {
        ClientBuilder::new(authority, client_id.into())
    }
}

impl<C: Credential> Client<C> {
    /// Requests a token for `scope` that is bound to the client's certificate. Set options on the returned [`Acquire`],
    /// then await it.
    pub fn bound_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BoundToken>
    where
        C: Binds,
    {
        Acquire::new(&self.issuer, scope)
    }

    /// Requests a Bearer token for `scope`. Set options on the returned [`Acquire`], then await it.
    pub fn bearer_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.issuer, scope)
    }

    /// Requests a Bearer token for `scopes` on behalf of a user (Entra's On-Behalf-Of flow). `user` is the user's
    /// access token for this application. Set options on the returned [`Acquire`], then await it.
    ///
    /// Tokens are cached separately for each `user`, by its hash. The protocol has no bound tokens for users. A client
    /// with assertions (`with_assertions`) or with `bearer_over_mtls` still presents its certificate. A refresh token
    /// in the response is ignored. Create `scopes` with [`ResourceScope::for_user`].
    pub fn on_behalf_of<'a>(&'a self, user: &Secret, scopes: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.issuer, scopes).on_behalf_of(user)
    }

    /// Returns the authority for which the client was built.
    pub fn authority(&self) -> &Authority {
        &self.core().authority
    }

    /// Returns the application's id.
    pub fn client_id(&self) -> &str {
        &self.core().client_id
    }
}

impl Client<ByCertificate> {
    /// Requests only Leg 1: an assertion for the token exchange that is bound to the client's certificate. The
    /// assertion is never cached.
    pub fn assertion(&self) -> AcquireLeg1<'_> {
        AcquireLeg1::new(self)
    }

    /// Returns the certificate of the client. For watched files, the result is the certificate that is in use now.
    pub fn binding(&self) -> BindingCertificate {
        self.credential.certificate.current()
    }
}

impl Leg1 for Client<ByCertificate> {
    fn current_binding(&self) -> Option<BindingCertificate> {
        Some(self.credential.certificate.current())
    }

    fn current_thumbprint(&self) -> Option<Thumbprint> {
        Some(self.credential.certificate.thumbprint())
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.credential.certificate.earlier()
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.credential.certificate.reopened(known)
    }

    fn identity(&self) -> Option<String> {
        Some(format!("{} at {}", self.core().client_id, self.core().authority.url()))
    }

    async fn replace(&self, blamed: &BindingCertificate, blame: Blame) -> Result<bool, Error> {
        self.credential.certificate.replace(blamed, blame, Some(Leg::One)).await
    }

    async fn binding(&self) -> Result<BindingCertificate, Error> {
        Ok(self.credential.certificate.current())
    }

    async fn assertion_for(
        &self,
        binding: &BindingCertificate,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        AcquireLeg1::new(self).for_exchange(request).run(binding).await
    }
}

impl<C> Client<C> {
    pub(crate) fn core(&self) -> &ClientCore {
        &self.issuer.client
    }
}

impl<C> fmt::Debug for Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("authority", &self.core().authority.url())
            .field("client_id", &self.core().client_id)
            .finish_non_exhaustive()
    }
}
