//! TLS as the real hosts use it. A host may ask for a client certificate, but it accepts a connection without one and
//! does not check it here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use certbound_verifier::rustls_0_23::{AnyClientCertificate, never_resume};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::emulator::Emulator;
use crate::error::EmulatorError;

/// The maximum number of hosts whose certificates are cached. Clients choose the names of vaults, so there must be a
/// limit.
const MAX_HOSTS: usize = 256;

/// The TLS configurations of the hosts. Each is made when it is needed for the first time.
pub(super) struct Configurations {
    emulator: Arc<Emulator>,
    provider: Arc<CryptoProvider>,
    by_host: Mutex<HashMap<String, Arc<ServerConfig>>>,
    refusing: Arc<ServerConfig>,
}

impl Configurations {
    pub(super) fn new(emulator: Arc<Emulator>) -> Result<Self, EmulatorError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let refusing = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(EmulatorError::key_material)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoCertificate));
        Ok(Self { emulator, provider, by_host: Mutex::default(), refusing: Arc::new(refusing) })
    }

    /// Returns the configuration for `host`, which is in lower case. The caller has checked that the host is emulated.
    pub(super) fn of(&self, host: &str) -> Result<Arc<ServerConfig>, EmulatorError> {
        let mut by_host = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = by_host.get(host) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(host)?);
        if by_host.len() == MAX_HOSTS {
            by_host.clear();
        }
        by_host.insert(host.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    /// Returns a configuration that fails the handshake with an alert.
    pub(super) fn refusing(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.refusing)
    }

    /// Like [`Configurations::of`], but it refuses every client certificate by an alert. The result is not cached.
    pub(super) fn blaming(&self, host: &str) -> Result<Arc<ServerConfig>, EmulatorError> {
        let (chain, key) = self.emulator.host_certificate(host)?;
        let any = AnyClientCertificate::new(Arc::clone(&self.provider));
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(EmulatorError::key_material)?
            .with_client_cert_verifier(Arc::new(RevokedClientCertificate(any)))
            .with_single_cert(chain, key)
            .map_err(EmulatorError::key_material)?;
        Ok(Arc::new(config))
    }

    /// Returns the configuration of Service Fabric's server, with its own or a foreign certificate. It does not ask for
    /// a client certificate.
    pub(super) fn of_service_fabric(&self, foreign: bool) -> Result<Arc<ServerConfig>, EmulatorError> {
        let (chain, key) = self.emulator.service_fabric_certificate(foreign)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(EmulatorError::key_material)?
            .with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(EmulatorError::key_material)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn make(&self, host: &str) -> Result<ServerConfig, EmulatorError> {
        let (chain, key) = self.emulator.host_certificate(host)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(EmulatorError::key_material)?;
        let builder = if self.emulator.asks_for_certificate(host) {
            builder.with_client_cert_verifier(Arc::new(AnyClientCertificate::new(Arc::clone(&self.provider))))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(chain, key).map_err(EmulatorError::key_material)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if !self.emulator.world().session_resumption {
            // A resumed session does not repeat the client's authentication.
            never_resume(&mut config);
        }
        Ok(config)
    }
}

/// Asks for a client certificate as every token host does, and refuses every certificate.
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
