//! Why a network configuration cannot be used.

/// Why a network configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The proxy is not an HTTP proxy's URL. It is not shown, since it may hold a password.
    #[error("the proxy in {from} is not of the form http://[user:password@]host:port")]
    Proxy {
        /// Where it stands: the environment variable's name, or the configuration.
        from: &'static str,
    },
    /// The roots are not certificates in PEM.
    #[error("the trusted roots are not certificates in PEM")]
    Roots,
    /// The system's trust store cannot be used.
    #[error("the system's trust store cannot be used: {reason}")]
    TrustStore {
        /// What the TLS library said.
        reason: String,
    },
}

impl NetworkError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Proxy { .. } => "invalid_proxy",
            Self::Roots => "invalid_roots",
            Self::TrustStore { .. } => "trust_store_unusable",
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Proxy { .. } => {
                "give the URL of an HTTP proxy that speaks CONNECT, with special characters of the password in %XX"
            }
            Self::Roots => "give a PEM file of CA certificates",
            Self::TrustStore { .. } => {
                "install the system's CA certificates (Debian: ca-certificates), or let SSL_CERT_FILE name a PEM file of them"
            }
        }
    }
}
