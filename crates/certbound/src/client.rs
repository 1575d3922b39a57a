//! Clients and how they are built.

use std::fmt;
use std::sync::{Arc, Mutex};

use certbound_core::authority::Authority;
use certbound_core::endpoint::{Channel, EndpointError, Flow};
use certbound_core::scope::{ExchangeScope, ResourceScope};

use crate::acquire::{Acquire, AcquireLeg1};
use crate::assertion::BoundAssertion;
use crate::binding::Binding;
use crate::cache::TokenCache;
use crate::cache::key::ClientKey;
use crate::certificate::BindingCertificate;
use crate::clock::{Clock, SystemClock};
use crate::credential::{Binds, ByAssertion, ByCertificate, Credential, NoCredential};
use crate::error::Error;
use crate::leg1::{AnyLeg1, AssertionRequest, Leg1};
use crate::network::{Network, NetworkError};
use crate::resource::Resource;
use crate::token::{BearerToken, BoundToken};
use crate::transport::{AnyTransport, Transport};

/// A confidential client: one application in one tenant, with one kind of credential.
///
/// Cheap to clone; clones share cache and connections. `Client<ByCertificate>` runs the direct flow and is a Leg 1;
/// `Client<ByAssertion>` is Leg 2.
#[derive(Clone)]
pub struct Client<C> {
    pub(crate) core: Arc<ClientCore>,
    pub(crate) credential: C,
}

/// What a client has whatever its credential.
pub(crate) struct ClientCore {
    pub(crate) authority: Authority,
    pub(crate) client_id: Arc<str>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) cache: TokenCache,
    pub(crate) cache_key: Arc<ClientKey>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Arc<dyn AnyTransport>,
}

impl Client<NoCredential> {
    /// Begins a client for the application `client_id` (a GUID) at `authority`.
    pub fn builder(authority: Authority, client_id: impl Into<String>) -> ClientBuilder<NoCredential> {
        ClientBuilder {
            authority,
            client_id: client_id.into(),
            capabilities: Vec::new(),
            cache: None,
            clock: None,
            transport: None,
            credential: NoCredential { _private: () },
        }
    }
}

/// Collects a client's settings. The credential is part of its type: certificate *and* assertion does not compile.
pub struct ClientBuilder<C> {
    authority: Authority,
    client_id: String,
    capabilities: Vec<String>,
    cache: Option<TokenCache>,
    clock: Option<Arc<dyn Clock>>,
    transport: Option<Arc<dyn AnyTransport>>,
    credential: C,
}

impl ClientBuilder<NoCredential> {
    /// Authenticates by a certificate: bound tokens directly, or as Leg 1.
    pub fn with_certificate(self, certificate: BindingCertificate) -> ClientBuilder<ByCertificate> {
        self.with(ByCertificate { binding: Binding::new(certificate) })
    }

    /// Authenticates by assertions from `leg1`: Leg 2.
    pub fn with_assertions(self, leg1: impl Leg1) -> ClientBuilder<ByAssertion> {
        let leg1: Arc<dyn AnyLeg1> = Arc::new(leg1);
        self.with(ByAssertion { leg1, reused: None })
    }

    fn with<C>(self, credential: C) -> ClientBuilder<C> {
        ClientBuilder {
            authority: self.authority,
            client_id: self.client_id,
            capabilities: self.capabilities,
            cache: self.cache,
            clock: self.clock,
            transport: self.transport,
            credential,
        }
    }
}

impl ClientBuilder<ByAssertion> {
    /// Uses one assertion for several exchanges while five minutes are left of it. Off by default: each exchange gets
    /// a fresh one. Meant for fan-out over many tenants.
    pub fn reuse_assertions(mut self) -> Self {
        self.credential.reused = Some(Arc::new(Mutex::new(None)));
        self
    }
}

impl<C> ClientBuilder<C> {
    /// Shares a cache. Default: one of the client's own.
    pub fn with_cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Uses a network configuration. Default: [`Network::from_env`].
    pub fn with_network(self, network: &Network) -> Self {
        self.with_transport(network.transport())
    }

    /// Sends requests by a transport of one's own.
    pub fn with_transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Reads the time from a clock of one's own. Default: the machine's.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Declares what the application can handle, such as `cp1` for claims challenges.
    pub fn with_capabilities<S: Into<String>>(mut self, capabilities: impl IntoIterator<Item = S>) -> Self {
        self.capabilities = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// Fixes the settings.
    ///
    /// # Errors
    /// [`BuildError`] when the application id is not a GUID, the authority has no mTLS host, or the default network
    /// cannot be used.
    pub fn build(self) -> Result<Client<C>, BuildError>
    where
        C: Credential,
    {
        if uuid::Uuid::try_parse(&self.client_id).is_err() || self.client_id.len() != GUID_LENGTH {
            return Err(BuildError::ClientId { found: self.client_id.chars().take(64).collect() });
        }
        self.authority.token_endpoint(Flow::ClientCredentials, Channel::MutualTls)?;
        let client_id: Arc<str> = self.client_id.to_ascii_lowercase().into();
        let transport = match self.transport {
            Some(transport) => transport,
            None => Network::from_env()?.transport(),
        };
        let cache_key =
            ClientKey::new(&self.authority, &client_id, self.credential.name(), &self.capabilities);
        let core = ClientCore {
            authority: self.authority,
            client_id,
            capabilities: self.capabilities,
            cache: self.cache.unwrap_or_default(),
            cache_key,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            transport,
        };
        Ok(Client { core: Arc::new(core), credential: self.credential })
    }
}

const GUID_LENGTH: usize = 36;

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

    /// A resource prepared for repeated calls: each call takes a live bound token for `scope` from the cache.
    pub fn resource(&self, scope: &ResourceScope) -> Resource
    where
        C: Binds,
    {
        Resource::of_client(Arc::clone(&self.core), Arc::new(self.credential.clone()), scope.clone())
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

    /// The certificate the client authenticates with.
    pub fn binding(&self) -> &Binding {
        &self.credential.binding
    }
}

impl Leg1 for Client<ByCertificate> {
    fn current_binding(&self) -> Option<Binding> {
        Some(self.credential.binding.clone())
    }

    async fn binding(&self) -> Result<Binding, Error> {
        Ok(self.credential.binding.clone())
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

/// Why a client cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The application's id is not a GUID.
    #[error("the client id `{found}` is not a GUID")]
    ClientId {
        /// What was given, shortened.
        found: String,
    },
    /// The authority cannot serve a certificate client.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The default network configuration cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl BuildError {
    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClientId { .. } => "invalid_client_id",
            Self::Endpoint(error) => error.code(),
            Self::Network(error) => error.code(),
        }
    }

    /// What to do.
    pub fn fix(&self) -> String {
        match self {
            Self::ClientId { .. } => "give the application (client) id from the app registration".to_owned(),
            Self::Endpoint(error) => error.fix().to_owned(),
            Self::Network(error) => error.fix().to_owned(),
        }
    }
}
