//! Clients: what they are asked for.

mod builder;
mod leg1;
mod workload_identity;

use std::fmt;
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::scope::{ExchangeScope, ResourceScope};
use certbound_core::secret::Secret;

pub use self::builder::ClientBuilder;
pub use self::leg1::AcquireLeg1;
pub use self::workload_identity::{WorkloadIdentity, WorkloadIdentityError};
use crate::acquire::token_service::TokenService;
use crate::acquire::{Acquire, ClientCore};
use crate::background::Background;
use crate::certificate::{Binding, Blame};
use crate::credential::{
    AssertionRequest, Binds, BoundAssertion, ByCertificate, Credential, Leg1, NoCredential,
};
use crate::error::Error;
use crate::token::{BearerToken, BoundToken};

/// A confidential client: one application in one tenant, with one kind of credential.
///
/// Cheap to clone; clones share cache and connections. `Client<ByCertificate>` runs the direct flow and is a Leg 1;
/// `Client<ByAssertion>` is Leg 2; `Client<BySecret>` and `Client<ByUnboundAssertion>` get Bearer tokens only.
#[derive(Clone)]
pub struct Client<C> {
    pub(crate) issuer: TokenService,
    /// Ends with the last of those who can ask for tokens.
    pub(crate) background: Arc<Background>,
    pub(crate) credential: C,
}

impl Client<NoCredential> {
    /// Begins a client for the application `client_id` at `authority`; at Entra it is a GUID.
    pub fn builder(authority: Authority, client_id: impl Into<String>) -> ClientBuilder<NoCredential> {
        ClientBuilder::new(authority, client_id.into())
    }
}

impl<C: Credential> Client<C> {
    /// A token for `scope` that is bound to the client's certificate. Await it, after any options.
    pub fn bound_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BoundToken>
    where
        C: Binds,
    {
        Acquire::new(&self.issuer, scope)
    }

    /// A Bearer token for `scope`. Await it, after any options.
    pub fn bearer_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.issuer, scope)
    }

    /// A Bearer token for `scopes` in the name of the user whose access token for this application is `user` (Entra's
    /// on-behalf-of flow). Await it, after any options.
    ///
    /// The tokens of each user are kept apart in the cache, by the hash of `user`. The protocol has no bound token for
    /// a user; a client of `with_assertions`, or one with `bearer_over_mtls`, still presents its certificate. A refresh
    /// token in the answer is not kept. Make `scopes` by [`ResourceScope::for_user`].
    pub fn on_behalf_of<'a>(&'a self, user: &Secret, scopes: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.issuer, scopes).on_behalf_of(user)
    }

    /// The authority the client was built for.
    pub fn authority(&self) -> &Authority {
        &self.core().authority
    }

    /// The application's id.
    pub fn client_id(&self) -> &str {
        &self.core().client_id
    }
}

impl Client<ByCertificate> {
    /// Leg 1 alone: an assertion for the token exchange, bound to the client's certificate. Never from a cache.
    pub fn assertion(&self) -> AcquireLeg1<'_> {
        AcquireLeg1::new(self)
    }

    /// The certificate the client authenticates with; of watched files the one in use now.
    pub fn binding(&self) -> Binding {
        self.credential.certificate.current()
    }
}

impl Leg1 for Client<ByCertificate> {
    fn current_binding(&self) -> Option<Binding> {
        Some(self.credential.certificate.current())
    }

    fn current_thumbprint(&self) -> Option<Thumbprint> {
        Some(self.credential.certificate.thumbprint())
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.credential.certificate.earlier()
    }

    fn identity(&self) -> Option<String> {
        Some(format!("{} at {}", self.core().client_id, self.core().authority.url()))
    }

    async fn replace(&self, blamed: &Binding, _: Blame) -> bool {
        self.credential.certificate.replace(blamed).await
    }

    async fn binding(&self) -> Result<Binding, Error> {
        Ok(self.credential.certificate.current())
    }

    async fn assertion_for(
        &self,
        binding: &Binding,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        AcquireLeg1::new(self).for_exchange(request).run(binding).await
    }
}

impl<C> Client<C> {
    pub(crate) fn core(&self) -> &ClientCore {
        &self.issuer.client
    }

    pub(crate) fn exchange_scope(&self) -> ExchangeScope {
        ExchangeScope::of(self.core().authority.cloud())
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
