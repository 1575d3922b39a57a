//! How a managed identity is set up.

use std::sync::Arc;

use certbound_core::managed_identity::{IdentityId, MachineSource, SourceError};
use tokio::sync::Semaphore;

use super::attestation::{AnyAttestation, Attestation};
use super::certificates::MachineCertificates;
use super::endpoint::Endpoint;
use super::environment::EnvironmentError;
use super::keys::{AnyKeys, KeyProvider, ProviderId, SoftwareKeys};
use super::known_cell::KnownCell;
use super::platform::Platform;
use super::{Machine, ManagedIdentity, imds};
use crate::acquire::Context;
use crate::background::Background;
use crate::cache::key::ClientKey;
use crate::cache::single_flight::SingleFlight;
use crate::cache::{Origins, TokenCache};
use crate::clock::{Clock, SystemClock};
use crate::error::{KeyStrength, NetworkError};
use crate::transport::{AnyTransport, Network, Transport};

type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Collects the settings of a [`ManagedIdentity`].
pub struct ManagedIdentityBuilder {
    id: IdentityId,
    origin: Option<MachineSource>,
    variable: Option<Box<Variables>>,
    capabilities: Vec<String>,
    cache: Option<TokenCache>,
    clock: Option<Arc<dyn Clock>>,
    transport: Option<Arc<dyn AnyTransport>>,
    certificates: Option<MachineCertificates>,
    keys: Option<(ProviderId, Arc<dyn AnyKeys>)>,
    attestation: Option<Arc<dyn AnyAttestation>>,
    min_strength: Option<KeyStrength>,
    imds_calls: Option<Arc<Semaphore>>,
    demands_observed: bool,
}

impl ManagedIdentityBuilder {
    pub(super) fn new(id: IdentityId) -> Self {
        Self {
            id,
            origin: None,
            variable: None,
            capabilities: Vec::new(),
            cache: None,
            clock: None,
            transport: None,
            certificates: None,
            keys: None,
            attestation: None,
            min_strength: None,
            imds_calls: None,
            demands_observed: false,
        }
    }

    /// Takes tokens from this source, and looks for no other. Default: told by the environment.
    pub fn at(mut self, origin: MachineSource) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Reads the environment by a function. Default: the process's, once, when it is built.
    pub fn with_environment(
        mut self,
        variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.variable = Some(Box::new(variable));
        self
    }

    /// Declares what the application can handle, such as `cp1` for claims challenges. Told with requests for bound tokens,
    /// and to Service Fabric; the other platforms have no endpoint for it.
    pub fn with_capabilities<S: Into<String>>(mut self, capabilities: impl IntoIterator<Item = S>) -> Self {
        self.capabilities = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// Shares a token cache. Default: one of its own.
    pub fn with_cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Uses a network configuration. Default: [`Network::from_env`]. The platform itself is never reached by a proxy.
    pub fn with_network(self, network: &Network) -> Self {
        Self { imds_calls: Some(imds::shared_calls()), ..self.with_transport(network.transport()) }
    }

    /// Sends requests by a transport of one's own. Its certificates then are in a store of their own, unless
    /// [`ManagedIdentityBuilder::with_certificates`] names one.
    pub fn with_transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self.imds_calls = Some(imds::calls());
        self
    }

    /// Reads the time from a clock of one's own. Default: the machine's.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Shares certificates. Default: all identities of the process do.
    pub fn with_certificates(mut self, certificates: MachineCertificates) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// Has the key kept by `keys`. Default: [`SoftwareKeys`], one key for the process.
    pub fn with_keys(mut self, keys: impl KeyProvider) -> Self {
        self.keys = Some((ProviderId::next(), Arc::new(keys)));
        self
    }

    /// Attests the key before a certificate is issued. Default: nobody does.
    pub fn with_attestation(mut self, hook: impl Attestation) -> Self {
        self.attestation = Some(Arc::new(hook));
        self
    }

    /// Refuses bound tokens, before any byte, when the key is kept less well than this.
    pub fn min_strength(mut self, strength: KeyStrength) -> Self {
        self.min_strength = Some(strength);
        self
    }

    /// Refuses a bound token that cannot be seen to name its certificate, because it is opaque or encrypted. Default: such a
    /// token is taken, since its answer says that it is bound. A token that can be read is compared in either case.
    pub fn require_observed_binding(mut self) -> Self {
        self.demands_observed = true;
        self
    }

    /// Fixes the settings; the environment is read now. Nothing is sent.
    ///
    /// # Errors
    /// [`ManagedIdentityBuildError`] when a variable of the platform is not usable, the platform cannot name the identity,
    /// or the default network cannot be used.
    pub fn build(self) -> Result<ManagedIdentity, ManagedIdentityBuildError> {
        let of_process = |name: &str| std::env::var(name).ok();
        let variable: &dyn Fn(&str) -> Option<String> = match &self.variable {
            Some(variable) => variable,
            None => &of_process,
        };
        let has_arc_agent = self.variable.is_none() && Endpoint::has_arc_agent();
        let endpoint = Endpoint::find(&self.id, self.origin, variable, has_arc_agent)?;
        endpoint.origin().check_identity(&self.id)?;
        let own_transport = self.transport.is_some();
        let transport = match self.transport {
            Some(transport) => transport,
            None => Arc::new(Network::from_env()?.transport()) as Arc<dyn AnyTransport>,
        };
        let certificates = self.certificates.unwrap_or_else(|| match own_transport {
            true => MachineCertificates::new(),
            false => MachineCertificates::shared(),
        });
        let (provider, keys) = self.keys.unwrap_or_else(shared_keys);
        let key_strength = keys.strength();
        // Machines, sources, attestations, and keys as well as they are kept: what differs has tokens that differ. Of keys that
        // are kept alike the certificates keep them apart.
        let server = endpoint
            .pin()
            .map_or_else(|| endpoint.base().to_owned(), |pin| format!("{} {pin}", endpoint.base()));
        let attested = self.attestation.is_some();
        let who = format!("{} {server} {attested} {key_strength} {}", endpoint.origin(), self.id);
        let strength = match self.min_strength {
            None => "managed identity",
            Some(KeyStrength::Software) => "managed identity, software",
            Some(KeyStrength::Hardware) => "managed identity, hardware",
            Some(KeyStrength::Attested) => "managed identity, attested",
        };
        let who = who.into();
        let cache_key = ClientKey::new(None, &who, strength, None, &self.capabilities, self.demands_observed);
        let background = Arc::new(Background::default());
        let machine = Machine {
            context: Context {
                cache: self.cache.unwrap_or_default(),
                cache_key,
                origins: Origins::default(),
                background: Arc::downgrade(&background),
                clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
                transport,
            },
            id: self.id,
            endpoint,
            capabilities: self.capabilities,
            certificates,
            cell: KnownCell::default(),
            keys,
            provider,
            strength: key_strength,
            attestation: self.attestation,
            min_strength: self.min_strength,
            imds_calls: self.imds_calls.unwrap_or_else(imds::shared_calls),
            discoveries: SingleFlight::default(),
        };
        Ok(ManagedIdentity { platform: Platform(Arc::new(machine)), background })
    }
}

/// The process's key.
fn shared_keys() -> (ProviderId, Arc<dyn AnyKeys>) {
    static SHARED: std::sync::OnceLock<Arc<SoftwareKeys>> = std::sync::OnceLock::new();
    let keys = SHARED.get_or_init(|| Arc::new(SoftwareKeys::new()));
    (ProviderId::PROCESS, Arc::clone(keys) as Arc<dyn AnyKeys>)
}

/// Why a managed identity cannot be set up.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ManagedIdentityBuildError {
    /// A variable of the platform.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The platform cannot name the identity.
    #[error(transparent)]
    Identity(#[from] SourceError),
    /// The default network configuration.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl ManagedIdentityBuildError {
    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Environment(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Network(error) => error.code(),
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Environment(error) => error.fix(),
            Self::Identity(error) => error.fix(),
            Self::Network(error) => error.fix(),
        }
    }
}
