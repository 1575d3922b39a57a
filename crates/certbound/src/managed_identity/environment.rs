//! Two of the environment variables, and the errors of variables that cannot be used.

use certbound_core::managed_identity::ServerThumbprintError;
use strum::EnumProperty as _;

/// The variable with the client id of the workspace's identity on Machine Learning.
pub(super) const DEFAULT_IDENTITY: &str = "DEFAULT_IDENTITY_CLIENT_ID";

/// The variable that disables version 2 of the metadata service, as in MSAL.NET.
const DISABLE_IMDS_V2: &str = "MSAL_MI_DISABLE_IMDS_V2";

/// Returns whether the environment disables version 2 of the metadata service: by `1`, or by `true` in upper or lower
/// case. Any other value is ignored, because MSAL.NET ignores it too.
pub(super) fn disables_imds_v2(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    variable(DISABLE_IMDS_V2).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
}

/// The reason why the environment names no usable endpoint for tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// A required variable is not set.
    #[error("the environment variable {variable} is not set")]
    NotSet {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is not a URL that can be requested.
    #[error("the environment variable {variable} is not a URL")]
    NotAUrl {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The URL is not `https`, but the platform names the server's certificate.
    #[error(
        "the environment variable {variable} is not an https:// URL, although the platform names the server's certificate"
    )]
    #[strum(props(fix = "use the endpoint that Service Fabric sets, which begins with https://"))]
    NotHttps {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is a secret that cannot be sent in a header. The error does not show it.
    #[error("the environment variable {variable} is not a valid HTTP header value")]
    #[strum(props(fix = "use the value that the platform sets: one line without control characters"))]
    NotAHeader {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is not the thumbprint of a certificate.
    #[error("the environment variable {variable} is not a thumbprint: {cause}")]
    Thumbprint {
        /// The name of the variable.
        variable: &'static str,
        /// The reason why the value is not a thumbprint.
        cause: ServerThumbprintError,
    },
}

impl EnvironmentError {
    /// Returns MSAL's name of the error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Thumbprint { cause, .. } => cause.code(),
            Self::NotSet { variable: DEFAULT_IDENTITY } => "invalid_managed_identity_id_type",
            _ => self.get_str("code").unwrap_or("invalid_managed_identity_endpoint"),
        }
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Thumbprint { cause, .. } => cause.fix(),
            Self::NotSet { variable: DEFAULT_IDENTITY } => {
                "set the variable to the client id of the workspace's identity, or select an identity by its client id"
            }
            _ => self.get_str("fix").unwrap_or(
                "run the program on the platform that sets this variable, or choose a different source",
            ),
        }
    }
}
