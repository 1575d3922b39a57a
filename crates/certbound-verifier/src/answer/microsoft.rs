//! The error codes and messages of Microsoft's own resources.

use std::borrow::Cow;

use crate::refusal::Refusal;

/// Returns the code of Microsoft Graph.
pub(super) fn code_of_graph(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::CallerKind | Refusal::ClientNotAllowed { .. } | Refusal::NoPermission => {
            "Authorization_RequestDenied"
        }
        Refusal::KeysUnavailable { .. } => "ServiceNotAvailable",
        _ => "InvalidAuthenticationToken",
    }
}

/// Returns the message of Microsoft Graph.
pub(super) fn message_of_graph(refusal: &Refusal) -> Cow<'static, str> {
    let message = match refusal {
        Refusal::CallerKind | Refusal::ClientNotAllowed { .. } | Refusal::NoPermission => {
            "Insufficient privileges to complete the operation."
        }
        Refusal::KeysUnavailable { .. } => "Tokens cannot be verified at the moment.",
        Refusal::NoCredentials | Refusal::UnknownScheme => "Access token is empty.",
        Refusal::MalformedAuthorization => "CompactToken parsing failed.",
        Refusal::BoundUnderBearer => "Cnf claim not supported over Bearer protocol.",
        Refusal::UnboundUnderPop => "MtlsCnfClaimMissing: the token is not bound to a certificate.",
        Refusal::BindingRequired => "A certificate-bound token is required.",
        Refusal::NoCertificate | Refusal::OptInMissing => {
            "MtlsMissingClientCertificate: the request has no client certificate."
        }
        Refusal::CertificateMismatch { .. } | Refusal::CertificateDates { .. } => {
            "MtlsCnfClaimRequestDataValidationFailed: the client certificate is not the token's."
        }
        other => return format!("Access token validation failure: {}.", other.description()).into(),
    };
    message.into()
}

/// Returns the code of Azure Key Vault.
pub(super) fn code_of_vault(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::CallerKind | Refusal::ClientNotAllowed { .. } | Refusal::NoPermission => "Forbidden",
        Refusal::KeysUnavailable { .. } => "ServiceUnavailable",
        Refusal::BoundUnderBearer => "AggregatedAuthenticationFailure",
        Refusal::BindingRequired => "BearerAuthenticationDisabledForKeyVault",
        _ => "Unauthorized",
    }
}

/// Returns the message of Azure Key Vault.
pub(super) fn message_of_vault(refusal: &Refusal) -> Cow<'static, str> {
    let message = match refusal {
        Refusal::CallerKind | Refusal::ClientNotAllowed { .. } | Refusal::NoPermission => {
            "AccessDenied: the caller has no permission."
        }
        Refusal::KeysUnavailable { .. } => "Tokens cannot be verified at the moment.",
        Refusal::NoCredentials | Refusal::UnknownScheme | Refusal::MalformedAuthorization => {
            "AKV10000: Request is missing a Bearer or PoP token."
        }
        Refusal::BoundUnderBearer => "S2S17001: a token with a confirmation claim was sent as Bearer.",
        Refusal::UnboundUnderPop => "AKV10023: the MTLS_POP token has no confirmation claim.",
        Refusal::BindingRequired => "This vault accepts certificate-bound tokens only.",
        Refusal::OptInMissing => {
            "A client certificate is required for the MTLS_POP token: send 'x-ms-tokenboundauth: true'."
        }
        Refusal::NoCertificate => "MissingClientCertificate: the request has no certificate.",
        Refusal::CertificateMismatch { .. } | Refusal::CertificateDates { .. } => {
            "[MtlsCnfClaimRequestDataValidationFailed] Could not validate token."
        }
        other => return format!("AKV10022: Invalid token: {}.", other.description()).into(),
    };
    message.into()
}
