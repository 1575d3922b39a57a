//! Clients: what they are asked for.

mod builder;
mod endpoints;
mod error;

use std::fmt;
use std::sync::{Arc, Weak};

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::instance::InstanceMetadata;
use certbound_core::scope::{ExchangeScope, ResourceScope};
use certbound_core::secret::Secret;

pub use self::builder::ClientBuilder;
use self::endpoints::Endpoints;
pub use self::error::BuildError;
use crate::acquire::{Acquire, AcquireLeg1};
use crate::assertion::BoundAssertion;
use crate::background::Background;
use crate::binding::Binding;
use crate::cache::TokenCache;
use crate::cache::key::ClientKey;
use crate::certificate::Blame;
use crate::clock::Clock;
use crate::credential::{Binds, ByCertificate, Credential, NoCredential};
use crate::discovery::Discovery;
use crate::error::Error;
use crate::leg1::{AssertionRequest, Leg1};
use crate::resource::Resource;
use crate::token::{BearerToken, BoundToken, Origins};
use crate::transport::AnyTransport;

/// A confidential client: one application in one tenant, with one kind of credential.
///
/// Cheap to clone; clones share cache and connections. `Client<ByCertificate>` runs the direct flow and is a Leg 1;
/// `Client<ByAssertion>` is Leg 2; `Client<BySecret>` and `Client<ByUnboundAssertion>` get Bearer tokens only.
#[derive(Clone)]
pub struct Client<C> {
    pub(crate) core: Arc<ClientCore>,
    /// Ends with the last of those who can ask for tokens.
    pub(crate) background: Arc<Background>,
    pub(crate) credential: C,
}

/// What a client has whatever its credential.
pub(crate) struct ClientCore {
    pub(crate) authority: Authority,
    pub(crate) client_id: Arc<str>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) cache: TokenCache,
    pub(crate) cache_key: Arc<ClientKey>,
    pub(crate) origins: Origins,
    pub(crate) background: Weak<Background>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Arc<dyn AnyTransport>,
    pub(crate) discovery: Discovery,
    pub(crate) endpoints: Endpoints,
    pub(crate) validates_authority: bool,
    pub(crate) instance_metadata: Option<Arc<InstanceMetadata>>,
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
        Acquire::new(&self.core, &self.credential, scope)
    }

    /// A Bearer token for `scope`. Await it, after any options.
    pub fn bearer_token<'a>(&'a self, scope: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.core, &self.credential, scope)
    }

    /// A Bearer token for `scopes` in the name of the user whose access token for this application is `user` (Entra's
    /// on-behalf-of flow). Await it, after any options.
    ///
    /// The tokens of each user are kept apart in the cache, by the hash of `user`. The protocol has no bound token for
    /// a user; a client of `with_assertions`, or one with `bearer_over_mtls`, still presents its certificate. A refresh
    /// token in the answer is not kept. Make `scopes` by [`ResourceScope::for_user`].
    pub fn on_behalf_of<'a>(&'a self, user: &Secret, scopes: &'a ResourceScope) -> Acquire<'a, BearerToken> {
        Acquire::new(&self.core, &self.credential, scopes).on_behalf_of(user)
    }

    /// A resource prepared for repeated calls: each call takes a live bound token for `scope` from the cache.
    pub fn resource(&self, scope: &ResourceScope) -> Resource
    where
        C: Binds,
    {
        let background = Arc::clone(&self.background);
        Resource::of_client(
            Arc::clone(&self.core),
            background,
            Arc::new(self.credential.clone()),
            scope.clone(),
        )
    }

    /// The authority the client was built for.
    pub fn authority(&self) -> &Authority {
        &self.core.authority
    }

    /// The application's id.
    pub fn client_id(&self) -> &str {
        &self.core.client_id
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
        Some(format!("{} at {}", self.core.client_id, self.core.authority.url()))
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
    pub(crate) fn exchange_scope(&self) -> ExchangeScope {
        ExchangeScope::of(self.core.authority.cloud())
    }
}

impl<C> fmt::Debug for Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("authority", &self.core.authority.url())
            .field("client_id", &self.core.client_id)
            .finish_non_exhaustive()
    }
}
