//! The check of a server's certificate, and the certificate that the client presents.

use std::fmt;
use std::sync::Arc;

use certbound_core::cause::Cause;
use certbound_core::managed_identity::ServerThumbprint;
use certbound_https::Identity;
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::pinned::OnlyPinned;
use crate::certificate::Binding;
use crate::crypto::provider;
use crate::error::NetworkError;

/// The rule for trusting the certificate of a server.
#[derive(Clone)]
pub(super) enum ServerTrust {
    Roots(Arc<RootCertStore>),
    Platform(Arc<rustls_platform_verifier::Verifier>),
    /// Only this certificate is trusted, whoever signed it.
    Pinned(ServerThumbprint),
}

impl ServerTrust {
    pub(super) fn new(roots: Option<RootCertStore>) -> Result<Self, NetworkError> {
        match roots {
            Some(roots) => Ok(Self::Roots(Arc::new(roots))),
            None => rustls_platform_verifier::Verifier::new(Arc::clone(provider()))
                .map(|verifier| Self::Platform(Arc::new(verifier)))
                .map_err(|error| NetworkError::TrustStore { reason: Cause::new(error) }),
        }
    }

    /// Returns an identity that presents no certificate.
    pub(super) fn anonymous(&self) -> Result<Identity, rustls::Error> {
        Ok(Identity::anonymous(self.config()?))
    }

    /// Returns an identity that presents the certificate of `binding`.
    pub(super) fn presenting(&self, binding: &Binding) -> Result<Identity, rustls::Error> {
        let key = Arc::clone(binding.certified_key());
        Ok(Identity::presenting(self.config()?, key))
    }

    /// The one place where the TLS client is configured.
    fn config(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()?;
        Ok(match self {
            Self::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
            Self::Platform(verifier) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::clone(verifier) as _)
            }
            Self::Pinned(pin) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(OnlyPinned::new(*pin)))
            }
        })
    }
}

impl fmt::Debug for ServerTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roots(_) => "ServerTrust(own roots)",
            Self::Platform(_) => "ServerTrust(system)",
            Self::Pinned(_) => "ServerTrust(pin)",
        })
    }
}
