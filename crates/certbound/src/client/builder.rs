//! The builder of clients.

use std::sync::{Arc, Mutex};

use certbound_core::authority::instance::InstanceMetadata;
use certbound_core::authority::{Authority, AuthorityKind};
use certbound_core::region::RegionChoice;
use certbound_core::secret::Secret;

use super::Client;
use crate::acquire::discovery::Discovery;
use crate::acquire::token_service::TokenService;
use crate::acquire::{ClientCore, ContextSettings};
use crate::cache::key::{CallerId, ClientKey, FMI};
use crate::cache::{Kind, TokenCache};
use crate::certificate::{CertificateSource, ClientCertificate};
use crate::clock::Clock;
use crate::correlation::CorrelationId;
use crate::credential::{
    AnyLeg1, ByAssertion, ByCertificate, BySecret, ByUnboundAssertion, Credential, Leg1, NoCredential,
    UnboundAssertions,
};
use crate::error::BuildError;
use crate::observe::Observer;
use crate::region::RegionDetector;
use crate::retry::RetryPolicy;
use crate::transport::{TracePropagation, Transport};

/// The settings of a client. The credential is part of the type, so a client with both a certificate and an assertion
/// does not compile.
pub struct ClientBuilder<C> {
    authority: Authority,
    client_id: String,
    capabilities: Vec<String>,
    context: ContextSettings,
    instance_metadata: Option<Arc<InstanceMetadata>>,
    validates_authority: bool,
    demands_observed: bool,
    regions: Option<RegionDetector>,
    has_own_transport: bool,
    falls_back_to_global: bool,
    credential: C,
}

impl ClientBuilder<NoCredential> {
    pub(super) fn new(authority: Authority, client_id: String) -> Self {
        Self {
            authority,
            client_id,
            capabilities: Vec::new(),
            context: ContextSettings::default(),
            instance_metadata: None,
            validates_authority: true,
            demands_observed: false,
            regions: None,
            has_own_transport: false,
            falls_back_to_global: false,
            credential: NoCredential { _private: () },
        }
    }

    /// Authenticates by a certificate, for bound tokens, for Bearer tokens or as Leg 1. The certificate is a
    /// [`BindingCertificate`](crate::BindingCertificate), a [`WatchedCertificate`](crate::WatchedCertificate) that
    /// another program renews, or your own source of certificates.
    pub fn with_certificate(self, certificate: impl CertificateSource) -> ClientBuilder<ByCertificate> {
        self.with(ByCertificate::new(ClientCertificate::new(certificate)))
    }

    /// Authenticates by assertions of `leg1`. The client is Leg 2.
    pub fn with_assertions(self, leg1: impl Leg1) -> ClientBuilder<ByAssertion> {
        let leg1: Arc<dyn AnyLeg1> = Arc::new(leg1);
        self.with(ByAssertion { leg1, reused: None })
    }

    /// Authenticates by assertions that are not bound to a certificate, such as a workload's federated token. The
    /// client gets only Bearer tokens.
    pub fn with_unbound_assertions(
        self,
        source: impl UnboundAssertions,
    ) -> ClientBuilder<ByUnboundAssertion> {
        self.with(ByUnboundAssertion::new(source))
    }

    /// Authenticates by a secret. The client gets only Bearer tokens.
    pub fn with_secret(self, secret: Secret) -> ClientBuilder<BySecret> {
        self.with(BySecret { secret: Arc::new(secret) })
    }

    fn with<C>(self, credential: C) -> ClientBuilder<C> {
        ClientBuilder {
            authority: self.authority,
            client_id: self.client_id,
            capabilities: self.capabilities,
            context: self.context,
            instance_metadata: self.instance_metadata,
            validates_authority: self.validates_authority,
            demands_observed: self.demands_observed,
            regions: self.regions,
            has_own_transport: self.has_own_transport,
            falls_back_to_global: self.falls_back_to_global,
            credential,
        }
    }
}

impl ClientBuilder<ByCertificate> {
    /// Presents the certificate in TLS for Bearer tokens too, in addition to the signed assertion. The default is off.
    pub fn bearer_over_mtls(mut self) -> Self {
        self.credential.bearer_over_mtls = true;
        self
    }

    /// Omits the certificate (`x5c`) from signed assertions. By default the assertions contain it, because the trust by
    /// subject name and issuer (SN/I) needs it. With `bearer_over_mtls` the assertions always contain it.
    pub fn without_x5c(mut self) -> Self {
        self.credential.omits_x5c = true;
        self
    }
}

impl ClientBuilder<ByAssertion> {
    /// Uses one assertion for several exchanges, as long as more than five minutes of its lifetime are left. The
    /// default is off, so each exchange gets a new assertion. Use this setting for requests to many tenants.
    pub fn reuse_assertions(mut self) -> Self {
        self.credential.reused = Some(Arc::new(Mutex::new(None)));
        self
    }
}

impl<C> ClientBuilder<C> {
    /// Uses a shared cache. The default is a cache for this client alone.
    pub fn with_cache(mut self, cache: TokenCache) -> Self {
        self.context.cache = Some(cache);
        self
    }

    /// Uses a network configuration. The default is [`Network::from_env`](crate::Network::from_env). The cargo feature
    /// `hyper-rustls` adds this function.
    #[cfg(feature = "hyper-rustls")]
    pub fn with_network(self, network: &crate::transport::Network) -> Self {
        Self { has_own_transport: false, ..self.with_transport(network.transport()) }
    }

    /// Sends requests with your own transport. The default is the transport of
    /// [`Network::from_env`](crate::Network::from_env). Without the cargo feature `hyper-rustls` there is no default.
    pub fn with_transport(mut self, transport: impl Transport) -> Self {
        self.context.transport = Some(Arc::new(transport));
        self.has_own_transport = true;
        self
    }

    /// Reads the time from your own clock. The default is the clock of the machine.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.context.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the policy by which token requests are repeated after a failure. The default is [`RetryPolicy::default`],
    /// which repeats a token request at most once.
    pub fn with_retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.context.retry_policy = policy;
        self
    }

    /// Registers an observer of all acquisitions and requests of this client, for example for metrics. The observer
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

    /// Declares the capabilities of the application, such as `cp1` for claims challenges. By default, no capabilities
    /// are declared.
    pub fn with_capabilities<S: Into<String>>(mut self, capabilities: impl IntoIterator<Item = S>) -> Self {
        self.capabilities = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// Uses your own instance metadata, for an environment that is not built into the library. The client uses the host
    /// names of the metadata unchanged, for mutual TLS too. Instance metadata is for Entra authorities only, and cannot
    /// be combined with a region.
    pub fn with_instance_metadata(mut self, metadata: InstanceMetadata) -> Self {
        self.instance_metadata = Some(Arc::new(metadata));
        self
    }

    /// Shares the detection of the machine's region with other clients. The detector is used only if the authority's
    /// region is [`Region::detect`](crate::Region::detect). By default, the clients of the process share one detection.
    /// A client with its own transport has its own detection.
    pub fn with_region_detector(mut self, detector: RegionDetector) -> Self {
        self.regions = Some(detector);
        self
    }

    /// Sends a request to the global endpoint if no connection to the region's host can be opened.
    /// [`Details::region_outcome`](crate::token::Details::region_outcome) is then `Unreachable`. The default is off, so
    /// the request fails. An answer of the region, a broken connection or a failed TLS handshake never leads to the
    /// global endpoint. The host is treated as unreachable too if the connection, TLS included, is not complete within
    /// its time limit.
    pub fn global_if_region_unreachable(mut self) -> Self {
        self.falls_back_to_global = true;
        self
    }

    /// Trusts the authority's host without a check. By default a host outside of the known clouds is checked first, by
    /// instance discovery (Entra) or Webfinger (AD FS), so that no credential is sent to a mistyped host.
    pub fn without_authority_validation(mut self) -> Self {
        self.validates_authority = false;
        self
    }

    /// Refuses an opaque or encrypted bound token, because its binding cannot be read (`binding_not_observed`). By
    /// default the token is accepted because the response states its binding, and
    /// [`Details::binding_observed`](crate::token::Details::binding_observed) is false. A readable token is always
    /// compared with the certificate. In a shared cache or store, a client with this setting gets only tokens of
    /// clients with this setting.
    pub fn require_observed_binding(mut self) -> Self {
        self.demands_observed = true;
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    /// [`BuildError`], in these cases: the application id is not a GUID at an authority that requires a GUID; the id is
    /// empty, is longer than 256 bytes or has control characters; the secret is empty; the instance metadata does not
    /// contain the authority's host, or the authority has a region too; the credential needs an mTLS host, and the
    /// authority has no mTLS host; or the default network cannot be used.
    pub fn build(self) -> Result<Client<C>, BuildError>
    where
        C: Credential,
    {
        let client_id = client_id(&self.client_id, self.authority.kind())?;
        self.credential.check()?;
        let authority = match &self.instance_metadata {
            Some(metadata) if self.authority.kind() == AuthorityKind::Entra => {
                if *self.authority.region_choice() != RegionChoice::Global {
                    return Err(BuildError::RegionWithInstanceMetadata);
                }
                self.authority.with_instance_metadata(metadata)?
            }
            _ => self.authority,
        };
        // A missing mutual-TLS host is an error of `build`, not of the first request.
        if self.credential.presents(Kind::Bearer) {
            authority.check_mutual_tls()?;
        }
        let caller = self.credential.caller_id().or_else(|| ephemeral_caller(&client_id));
        let cache_key = ClientKey::new(
            Some(&authority),
            &client_id,
            self.credential.name(),
            caller,
            &self.capabilities,
            self.demands_observed,
        );
        let (context, background) = self.context.build(cache_key, Arc::clone(&client_id))?;
        let core = ClientCore {
            context,
            authority,
            client_id,
            capabilities: self.capabilities,
            discovery: Discovery::new(),
            validates_authority: self.validates_authority,
            instance_metadata: self.instance_metadata,
            regions: self.regions.unwrap_or_else(|| match self.has_own_transport {
                true => RegionDetector::new(),
                false => RegionDetector::of_process(),
            }),
            falls_back_to_global: self.falls_back_to_global,
        };
        let credential = Arc::new(self.credential.clone());
        let issuer = TokenService { client: Arc::new(core), credential };
        Ok(Client { issuer, background, credential: self.credential })
    }
}

/// Returns an id of this client alone, if its client id does not identify one identity.
fn ephemeral_caller(client_id: &str) -> Option<CallerId> {
    (client_id == FMI).then(|| CallerId::Unknown(CorrelationId::random()))
}

/// Checks the client id. At Microsoft's authorities a GUID is converted to lower case. At other authorities the id is
/// used unchanged (RFC 6749, section 1.9), even if it looks like a GUID.
fn client_id(text: &str, kind: AuthorityKind) -> Result<Arc<str>, BuildError> {
    const GUID_LENGTH: usize = 36;

    let free = !kind.ignores_case();
    if !free && text.len() == GUID_LENGTH && uuid::Uuid::try_parse(text).is_ok() {
        return Ok(text.to_ascii_lowercase().into());
    }
    let printable = !text.is_empty() && text.len() <= 256 && !text.contains(char::is_control);
    if text == FMI || (free && printable) {
        return Ok(text.into());
    }
    Err(BuildError::ClientId { found: text.chars().take(64).collect() })
}
