//! The status and the error code of a refusal in HTTP.

use super::Refusal;

impl Refusal {
    /// Returns the HTTP status (RFC 6750, section 3.1).
    pub fn status(&self) -> u16 {
        match self {
            Self::AmbiguousLength
            | Self::MalformedAuthorization
            | Self::TokenInUrl
            | Self::CertificateHeader(_) => 400,
            Self::CallerKind | Self::ClientNotAllowed { .. } | Self::NoPermission => 403,
            Self::KeysUnavailable { .. } => 503,
            _ => 401,
        }
    }

    /// Returns the error code for the challenge (RFC 6750, section 3). The result is `None` if the request had no
    /// credentials under a known scheme, or if the caller did nothing wrong.
    pub fn error(&self) -> Option<&'static str> {
        match self {
            Self::NoCredentials | Self::UnknownScheme | Self::KeysUnavailable { .. } => None,
            Self::ClaimsDemanded { .. } => Some("insufficient_claims"),
            _ => Some(match self.status() {
                400 => "invalid_request",
                403 => "insufficient_scope",
                _ => "invalid_token",
            }),
        }
    }
}
