//! TLS as the real hosts do it: a client certificate is asked for or not, never demanded, and never judged here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use certbound_verifier::rustls_0_23::{AnyClientCertificate, never_resume};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::emulator::{Emulator, EmulatorError};

/// The most hosts whose certificates are kept; vault names are for strangers to choose.
const MAX_HOSTS: usize = 256;

/// One TLS configuration per host, made when first needed.
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

    /// The configuration for `host`, lower case; the caller has checked that it is emulated.
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

    /// Fails the handshake with an alert.
    pub(super) fn refusing(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.refusing)
    }

    /// The configuration of Service Fabric's server: one certificate for whoever connects, and no question for another.
    pub(super) fn of_service_fabric(&self) -> Result<Arc<ServerConfig>, EmulatorError> {
        let (chain, key) = self.emulator.service_fabric_certificate();
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
            // A resumed session repeats no client authentication.
            never_resume(&mut config);
        }
        Ok(config)
    }
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
