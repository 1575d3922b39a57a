//! Why the environment does not say where a platform's tokens are had.

use certbound_core::managed_identity::ServerThumbprintError;
use strum::EnumProperty as _;

/// Names the variable of the workspace's identity on Machine Learning.
pub(super) const DEFAULT_IDENTITY: &str = "DEFAULT_IDENTITY_CLIENT_ID";

/// Why the environment does not say where tokens are had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// The source needs it.
    #[error("the environment variable {variable} is not set")]
    NotSet {
        /// Its name.
        variable: &'static str,
    },
    /// No URL that can be asked.
    #[error("the environment variable {variable} is not a URL")]
    NotAUrl {
        /// Its name.
        variable: &'static str,
    },
    /// A URL without TLS, where the server must be known by its certificate.
    #[error(
        "the environment variable {variable} is not an https:// URL, and its server is to be known by its certificate"
    )]
    #[strum(props(fix = "give the endpoint as Service Fabric sets it, with https://"))]
    NotHttps {
        /// Its name.
        variable: &'static str,
    },
    /// A secret that cannot be sent as the platform wants it. It is not shown.
    #[error("the environment variable {variable} holds what no HTTP header can")]
    #[strum(props(fix = "give it as the platform sets it: one line without control characters"))]
    NotAHeader {
        /// Its name.
        variable: &'static str,
    },
    /// Not the thumbprint of a certificate.
    #[error("the environment variable {variable} is no thumbprint: {cause}")]
    Thumbprint {
        /// Its name.
        variable: &'static str,
        /// Why.
        cause: ServerThumbprintError,
    },
}

impl EnvironmentError {
    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Thumbprint { cause, .. } => cause.code(),
            Self::NotSet { variable: DEFAULT_IDENTITY } => "invalid_managed_identity_id_type",
            _ => self.get_str("code").unwrap_or("invalid_managed_identity_endpoint"),
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Thumbprint { cause, .. } => cause.fix(),
            Self::NotSet { variable: DEFAULT_IDENTITY } => {
                "set it to the client id of the workspace's identity, or name an identity by its client id"
            }
            _ => self.get_str("fix").unwrap_or("run where the platform sets it, or name another source"),
        }
    }
}
