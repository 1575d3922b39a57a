//! Why a network configuration cannot be used.

use certbound_core::cause::Cause;
use strum::EnumProperty as _;

/// Why a network configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum NetworkError {
    /// The proxy is not an HTTP proxy's URL. It is not shown, since it may hold a password.
    #[error("the proxy in {from} is not of the form http://[user:password@]host:port")]
    #[strum(props(code = "invalid_proxy"))]
    #[strum(props(
        fix = "give the URL of an HTTP proxy that speaks CONNECT, with special characters of the password in %XX"
    ))]
    Proxy {
        /// Where it stands: the environment variable's name, or the configuration.
        from: &'static str,
    },
    /// The roots are not certificates in PEM.
    #[error("the trusted roots are not certificates in PEM")]
    #[strum(props(code = "invalid_roots", fix = "give a PEM file of CA certificates"))]
    Roots,
    /// The system's trust store cannot be used.
    #[error("the system's trust store cannot be used: {reason}")]
    #[strum(props(code = "trust_store_unusable"))]
    #[strum(props(
        fix = "install the system's CA certificates (Debian: ca-certificates), or let SSL_CERT_FILE name a PEM file of them"
    ))]
    TrustStore {
        /// What the TLS library said.
        #[source]
        reason: Cause,
    },
}

impl NetworkError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}
