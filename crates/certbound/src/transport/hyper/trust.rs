//! The check of a server's certificate, and the certificate that the client presents.

use std::fmt;
use std::sync::Arc;

use certbound_core::cause::Cause;
use certbound_core::managed_identity::ServerThumbprint;
use certbound_https::{Explaining, Identity};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::pinned::OnlyPinned;
use crate::certificate::{BindingCertificate, KeyPlace};
use crate::crypto::provider;
use crate::error::NetworkError;

/// The rule for trusting the certificate of a server.
#[derive(Clone)]
pub(super) struct ServerTrust {
    verifier: Arc<dyn ServerCertVerifier>,
    name: &'static str,
}

impl ServerTrust {
    /// Trusts servers by these roots, or by the roots of the system.
    pub(super) fn new(roots: Option<RootCertStore>) -> Result<Self, NetworkError> {
        let (verifier, name): (Arc<dyn ServerCertVerifier>, _) = match roots {
            Some(roots) => {
                let provider = Arc::clone(provider());
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
                (verifier.map_err(|_| NetworkError::Roots)? as _, "own roots")
            }
            None => {
                let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(provider()));
                let unusable = |error| NetworkError::TrustStore { reason: Cause::new(error) };
                (Arc::new(verifier.map_err(unusable)?), "system")
            }
        };
        Ok(Self { verifier: Arc::new(Explaining(verifier)), name })
    }

    /// Trusts only this certificate. Its name, dates and issuer are not checked.
    pub(super) fn pinned(pin: ServerThumbprint) -> Self {
        Self { verifier: Arc::new(OnlyPinned::new(pin)), name: "pin" }
    }

    /// Returns an identity that presents no certificate.
    pub(super) fn anonymous(&self) -> Result<Identity, rustls::Error> {
        Identity::anonymous(self.config()?)
    }

    /// Returns an identity that presents the certificate of `binding`.
    pub(super) fn presenting(&self, binding: &BindingCertificate) -> Result<Identity, rustls::Error> {
        let identity = Identity::presenting(self.config()?, Arc::clone(binding.certified_key()))?;
        Ok(match binding.key_place() {
            KeyPlace::Memory(_) => identity,
            KeyPlace::Elsewhere => identity.signing_slowly(),
        })
    }

    /// Returns the start of a TLS configuration: the cryptography, the protocol versions and the check of the server.
    fn config(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()?;
        Ok(builder.dangerous().with_custom_certificate_verifier(Arc::clone(&self.verifier)))
    }
}

impl fmt::Debug for ServerTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerTrust({})", self.name)
    }
}
