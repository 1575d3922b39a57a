//! The builder of managed identities.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use certbound_core::managed_identity::{IdentityId, MachineSource, SourceError};
use tokio::sync::Semaphore;

use super::attestation::{AnyAttestation, Attestation};
use super::cache_identity::{Boot, cache_identity};
use super::certificates::MachineCertificates;
use super::endpoint::Endpoint;
use super::environment::{EnvironmentError, disables_imds_v2};
use super::keys::{AnyKeys, KeyProvider, ProviderId, SoftwareKeys};
use super::platform::Platform;
use super::{Machine, ManagedIdentity, imds};
use crate::acquire::ContextSettings;
use crate::cache::TokenCache;
use crate::cache::key::{CallerId, ClientKey};
use crate::cache::single_flight::SingleFlight;
use crate::clock::Clock;
use crate::error::{KeyStrength, NetworkError};
use crate::observe::Observer;
use crate::retry::{RetryPolicy, Throttle};
use crate::transport::{TracePropagation, Transport};

type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The settings of a [`ManagedIdentity`].
pub struct ManagedIdentityBuilder {
    id: IdentityId,
    origin: Option<MachineSource>,
    variable: Option<Box<Variables>>,
    capabilities: Vec<String>,
    context: ContextSettings,
    certificates: Option<MachineCertificates>,
    keys: Option<(ProviderId, Arc<dyn AnyKeys>)>,
    attestation: Option<Arc<dyn AnyAttestation>>,
    min_strength: Option<KeyStrength>,
    imds_calls: Option<Arc<Semaphore>>,
    demands_observed: bool,
    bearer_over_mtls: bool,
}

impl ManagedIdentityBuilder {
    pub(super) fn new(id: IdentityId) -> Self {
        Self {
            id,
            origin: None,
            variable: None,
            capabilities: Vec::new(),
            context: ContextSettings::default(),
            certificates: None,
            keys: None,
            attestation: None,
            min_strength: None,
            imds_calls: None,
            demands_observed: false,
            bearer_over_mtls: false,
        }
    }

    /// Sets the source of the tokens. The default is the source that the environment names. The variables of the
    /// source, such as its endpoint, are read from the environment.
    pub fn at(mut self, origin: MachineSource) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Reads environment variables with the function `variable`. The default reads the variables of the process.
    /// [`ManagedIdentityBuilder::build`] reads the variables once.
    ///
    /// The value `true` (in upper or lower case) or `1` of `MSAL_MI_DISABLE_IMDS_V2` disables version 2 of the metadata
    /// service: bound tokens and Bearer tokens over mutual TLS are refused before any request.
    pub fn with_environment(
        mut self,
        variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.variable = Some(Box::new(variable));
        self
    }

    /// Declares the capabilities of the application, such as `cp1` for claims challenges. The client sends the
    /// capabilities to the token service and to Service Fabric. The other platforms do not accept capabilities. By
    /// default, no capabilities are declared.
    pub fn with_capabilities<S: Into<String>>(mut self, capabilities: impl IntoIterator<Item = S>) -> Self {
        self.capabilities = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// Uses a shared token cache. The default is a cache for this identity alone.
    pub fn with_cache(mut self, cache: TokenCache) -> Self {
        self.context.cache = Some(cache);
        self
    }

    /// Uses a network configuration. The default is [`Network::from_env`](crate::Network::from_env). Requests to the
    /// platform never use a proxy. The cargo feature `hyper-rustls` adds this function.
    #[cfg(feature = "hyper-rustls")]
    pub fn with_network(self, network: &crate::transport::Network) -> Self {
        Self { imds_calls: Some(imds::shared_calls()), ..self.with_transport(network.transport()) }
    }

    /// Sends requests with your own transport. The identity then has its own certificates, unless
    /// [`ManagedIdentityBuilder::with_certificates`] sets shared certificates.
    pub fn with_transport(mut self, transport: impl Transport) -> Self {
        self.context.transport = Some(Arc::new(transport));
        self.imds_calls = Some(imds::calls());
        self
    }

    /// Reads the time from your own clock. The default is the clock of the machine.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.context.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the policy by which requests to the platform and to the token service are repeated after a failure. The
    /// default is [`RetryPolicy::default`].
    pub fn with_retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.context.retry_policy = policy;
        self
    }

    /// Registers an observer of all acquisitions and requests of this identity, for example for metrics. The observer
    /// also sees the requests of refreshes in the background. Do not pass the same observer to `observe` too, because
    /// the observer would be called twice. By default, there is no observer.
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.context.observer = Some(observer);
        self
    }

    /// Adds the headers of a W3C trace context to requests. By default, no request has these headers.
    pub fn with_trace_context(mut self, propagation: TracePropagation) -> Self {
        self.context.trace_context = Some(propagation);
        self
    }

    /// Shares certificates with other identities. By default, an identity with its own network or transport has its own
    /// certificates, and all other identities of the process share their certificates.
    pub fn with_certificates(mut self, certificates: MachineCertificates) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// Gets the key from `keys`. The default is [`SoftwareKeys`] with one key for the process.
    pub fn with_keys(mut self, keys: impl KeyProvider) -> Self {
        self.keys = Some((ProviderId::next(), Arc::new(keys)));
        self
    }

    /// Attests the key before a certificate is requested. By default, keys are not attested.
    pub fn with_attestation(mut self, hook: impl Attestation) -> Self {
        self.attestation = Some(Arc::new(hook));
        self
    }

    /// Requests Bearer tokens from the token service over mutual TLS, with the certificate of the machine. By default
    /// the platform itself issues Bearer tokens.
    ///
    /// The tokens are not bound: every holder of a token can use it. The tokens are requested with the same certificate
    /// as bound tokens, and cached apart from the tokens that the platform issues. If the source issues no
    /// certificates, the acquisition fails without a request. If the identity is a [source of unbound
    /// assertions](crate::ClientBuilder::with_unbound_assertions), its assertions are requested in this way too.
    pub fn bearer_over_mtls(mut self) -> Self {
        self.bearer_over_mtls = true;
        self
    }

    /// Refuses bound tokens, and Bearer tokens over mutual TLS, before any request if the key strength is lower than
    /// `strength`. By default, there is no minimum.
    pub fn min_strength(mut self, strength: KeyStrength) -> Self {
        self.min_strength = Some(strength);
        self
    }

    /// Refuses an opaque or encrypted bound token, because its binding cannot be read. By default the token is
    /// accepted, because its type is `mtls_pop`. A readable token is always compared with the certificate.
    pub fn require_observed_binding(mut self) -> Self {
        self.demands_observed = true;
        self
    }

    /// Builds the identity. The function reads the environment and sends no request.
    ///
    /// # Errors
    /// [`ManagedIdentityBuildError`], if a variable of the platform is missing or unusable, the platform cannot select
    /// the identity, or the default network cannot be used.
    pub fn build(self) -> Result<ManagedIdentity, ManagedIdentityBuildError> {
        let of_process = |name: &str| std::env::var(name).ok();
        let variable: &dyn Fn(&str) -> Option<String> = match &self.variable {
            Some(variable) => variable,
            None => &of_process,
        };
        let has_arc_agent = self.variable.is_none() && Endpoint::has_arc_agent();
        let endpoint = Endpoint::find(&self.id, self.origin, variable, has_arc_agent)?;
        endpoint.origin().check_identity(&self.id)?;
        let imds_v2_disabled = endpoint.origin() == MachineSource::Imds && disables_imds_v2(variable);
        let own_transport = self.context.transport.is_some();
        let certificates = self.certificates.unwrap_or_else(|| match own_transport {
            true => MachineCertificates::new(),
            false => MachineCertificates::shared(),
        });
        let (provider, keys) = self.keys.unwrap_or_else(shared_keys);
        let key_strength = keys.strength();
        let boot = Boot::of_machine();
        let cache_identity = cache_identity(&self.id, &endpoint, boot);
        // Tokens are not shared between different identities, attestations, issuers of Bearer tokens and key strengths.
        // Tokens of different keys with equal strength have different certificates.
        let (attested, over_mtls) = (self.attestation.is_some(), self.bearer_over_mtls);
        let who = format!("{attested} {over_mtls} {key_strength} {cache_identity}").into();
        let caller = boot.of_process.map(CallerId::Unknown);
        let strength = match self.min_strength {
            None => "managed identity",
            Some(KeyStrength::Software) => "managed identity, software",
            Some(KeyStrength::Hardware) => "managed identity, hardware",
            Some(KeyStrength::Attested) => "managed identity, attested",
        };
        let cache_key =
            ClientKey::new(None, &who, strength, caller, &self.capabilities, self.demands_observed);
        let throttle = Throttle::new(self.context.retry_policy);
        let (context, background) = self.context.build(cache_key, self.id.to_string().into())?;
        let machine = Machine {
            context,
            id: self.id,
            endpoint,
            cache_identity,
            capabilities: self.capabilities,
            certificates,
            cell: ArcSwapOption::empty(),
            keys,
            provider,
            strength: key_strength,
            attestation: self.attestation,
            min_strength: self.min_strength,
            bearer_over_mtls: self.bearer_over_mtls,
            imds_v2_disabled,
            imds_calls: self.imds_calls.unwrap_or_else(imds::shared_calls),
            throttle,
            discoveries: SingleFlight::default(),
        };
        Ok(ManagedIdentity { platform: Platform(Arc::new(machine)), background })
    }
}

/// Returns the key provider of the process.
fn shared_keys() -> (ProviderId, Arc<dyn AnyKeys>) {
    static SHARED: std::sync::OnceLock<Arc<SoftwareKeys>> = std::sync::OnceLock::new();
    let keys = SHARED.get_or_init(|| Arc::new(SoftwareKeys::new()));
    (ProviderId::PROCESS, Arc::clone(keys) as Arc<dyn AnyKeys>)
}

/// The reason why a managed identity cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ManagedIdentityBuildError {
    /// A variable of the platform is missing or unusable.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The platform cannot select the identity.
    #[error(transparent)]
    Identity(#[from] SourceError),
    /// The default network configuration is unusable.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl ManagedIdentityBuildError {
    /// Returns MSAL's name of the error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Environment(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Network(error) => error.code(),
        }
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Environment(error) => error.fix(),
            Self::Identity(error) => error.fix(),
            Self::Network(error) => error.fix(),
        }
    }
}
