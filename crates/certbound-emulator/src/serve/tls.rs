//! TLS as the real hosts use it. A host may request a client certificate. The handshake also succeeds without a client
//! certificate, and does not check who issued the certificate.

use std::sync::Arc;

use certbound_https::fips;
use certbound_verifier::rustls_0_23::{AnyClientCertificate, never_resume};
use moka::sync::Cache;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ConfigBuilder, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    WantsVerifier,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::emulator::Emulator;
use crate::error::EmulatorError;
use crate::keys::ServerCertificate;

/// The maximum number of hosts whose certificates are cached. Clients choose the names of vaults, so there must be a
/// limit.
const MAX_HOSTS: u64 = 256;

/// The name of HTTP/2 in ALPN (RFC 9113, section 3.1).
pub(super) const HTTP_2: &[u8] = b"h2";

/// The TLS configurations of the hosts. A configuration is made at the first connection to its host, and then cached.
pub(super) struct Configurations {
    emulator: Arc<Emulator>,
    provider: Arc<CryptoProvider>,
    by_host: Cache<String, Arc<ServerConfig>>,
    refusing: Arc<ServerConfig>,
}

impl Configurations {
    pub(super) fn new(emulator: Arc<Emulator>) -> Result<Self, EmulatorError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let refusing = builder(&provider)?.with_no_client_auth().with_cert_resolver(Arc::new(NoCertificate));
        // Every configuration of the emulator has the same provider, so this check already finds a provider without
        // FIPS mode at the start of the emulator.
        fips::server(&refusing).map_err(EmulatorError::of_tls)?;
        Ok(Self { emulator, provider, by_host: Cache::new(MAX_HOSTS), refusing: Arc::new(refusing) })
    }

    /// Returns the configuration for `host`, which is in lower case. The caller has checked that the host is emulated.
    pub(super) fn of(&self, host: &str) -> Result<Arc<ServerConfig>, Arc<EmulatorError>> {
        self.by_host.try_get_with_by_ref(host, || {
            let clients: Arc<dyn ClientCertVerifier> = match self.emulator.asks_for_certificate(host) {
                true => Arc::new(AnyClientCertificate::new(Arc::clone(&self.provider))),
                false => Arc::new(NoClientAuth),
            };
            let mut config = self.of_host(host, clients)?;
            if !self.emulator.world().session_resumption {
                // A resumed session does not repeat the client's authentication.
                never_resume(&mut config);
            }
            Ok(Arc::new(config))
        })
    }

    /// Returns a configuration with which every handshake fails with an alert.
    pub(super) fn refusing(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.refusing)
    }

    /// Returns a configuration for `host` that refuses every client certificate with an alert. The result is not
    /// cached.
    pub(super) fn blaming(&self, host: &str) -> Result<Arc<ServerConfig>, EmulatorError> {
        let any = AnyClientCertificate::new(Arc::clone(&self.provider));
        self.of_host(host, Arc::new(RevokedClientCertificate(any))).map(Arc::new)
    }

    /// Returns the configuration of Service Fabric's server, with the certificate of the node or, if `foreign` is true,
    /// with a foreign certificate. The configuration does not request a client certificate.
    pub(super) fn of_service_fabric(&self, foreign: bool) -> Result<Arc<ServerConfig>, EmulatorError> {
        let certificate = self.emulator.service_fabric_certificate(foreign)?;
        self.make(certificate, Arc::new(NoClientAuth)).map(Arc::new)
    }

    fn of_host(
        &self,
        host: &str,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<ServerConfig, EmulatorError> {
        let mut config = self.make(self.emulator.host_certificate(host)?, clients)?;
        if self.emulator.offers_http2(host) {
            config.alpn_protocols.insert(0, HTTP_2.to_vec());
        }
        Ok(config)
    }

    /// Makes a configuration for HTTP/1.1.
    fn make(
        &self,
        (chain, key): ServerCertificate,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<ServerConfig, EmulatorError> {
        let builder = builder(&self.provider)?.with_client_cert_verifier(clients);
        let mut config = builder.with_single_cert(chain, key).map_err(EmulatorError::key_material)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn builder(
    provider: &Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, EmulatorError> {
    ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(EmulatorError::key_material)
}

/// A verifier that requests a client certificate, and refuses every certificate as revoked.
#[derive(Debug)]
struct RevokedClientCertificate(AnyClientCertificate);

impl ClientCertVerifier for RevokedClientCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Err(rustls::Error::InvalidCertificate(CertificateError::Revoked))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
