//! The reason why a network configuration cannot be used.

use certbound_core::cause::Cause;
use certbound_core::fips::NotFips;
use strum::EnumProperty as _;

/// The reason why a network configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum NetworkError {
    /// The proxy's URL is not the URL of an HTTP proxy. The error does not show the URL, because it may contain a
    /// password.
    #[error("the proxy in {from} is not of the form http://[user:password@]host:port")]
    #[strum(props(code = "invalid_proxy"))]
    #[strum(props(
        fix = "give the URL of an HTTP proxy that supports CONNECT; percent-encode the special characters of the password (%XX)"
    ))]
    Proxy {
        /// The origin of the URL: the environment variable's name, or the configuration.
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
        fix = "install the system's CA certificates (Debian: ca-certificates), or set SSL_CERT_FILE to a PEM file of CA certificates"
    ))]
    TrustStore {
        /// The TLS library's error.
        #[source]
        reason: Cause,
    },
    /// A client was built without a transport of the application, and the crate was built without the feature
    /// `hyper-rustls`.
    #[error("no transport was given, and this build of certbound has no built-in transport")]
    #[strum(props(code = "no_transport"))]
    #[strum(props(
        fix = "call with_transport on the builder, or turn on the feature hyper-rustls of the crate"
    ))]
    NoTransport,
    /// This build requires FIPS, and its TLS is not in FIPS mode.
    #[error(transparent)]
    NotFips(#[from] NotFips),
}

impl NetworkError {
    /// Returns the stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFips(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NotFips(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}
