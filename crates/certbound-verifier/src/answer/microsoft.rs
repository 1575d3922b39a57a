//! The error codes and messages of Microsoft's own resources.

use std::borrow::Cow;

use crate::refusal::Refusal;

/// Returns the code and the message of Microsoft Graph.
pub(super) fn graph(refusal: &Refusal) -> (&'static str, Cow<'static, str>) {
    let code = "InvalidAuthenticationToken";
    let (code, message) = match refusal {
        Refusal::CallerKind | Refusal::ClientNotAllowed { .. } | Refusal::NoPermission => {
            ("Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        }
        Refusal::KeysUnavailable { .. } => {
            ("ServiceNotAvailable", "Tokens cannot be verified at the moment.")
        }
        Refusal::NoCredentials | Refusal::UnknownScheme => (code, "Access token is empty."),
        Refusal::MalformedAuthorization => (code, "CompactToken parsing failed."),
        Refusal::BoundUnderBearer => (code, "Cnf claim not supported over Bearer protocol."),
        Refusal::UnboundUnderPop => (code, "MtlsCnfClaimMissing: the token is not bound to a certificate."),
        Refusal::BindingRequired => (code, "A certificate-bound token is required."),
        Refusal::NoCertificate | Refusal::OptInMissing => {
            (code, "MtlsMissingClientCertificate: the request has no client certificate.")
        }
        Refusal::CertificateMismatch { .. } | Refusal::CertificateDates { .. } => {
            (code, "MtlsCnfClaimRequestDataValidationFailed: the client certificate is not the token's.")
        }
        other => {
            return (code, format!("Access token validation failure: {}.", other.description()).into());
        }
    };
    (code, message.into())
}

/// Returns the code and the message of Azure Key Vault.
pub(super) fn vault(refusal: &Refusal) -> (&'static str, Cow<'static, str>) {
    let code = "Unauthorized";
    let (code, message) = match refusal {
        Refusal::CallerKind | Refusal::ClientNotAllowed { .. } | Refusal::NoPermission => {
            ("Forbidden", "AccessDenied: the caller has no permission.")
        }
        Refusal::KeysUnavailable { .. } => ("ServiceUnavailable", "Tokens cannot be verified at the moment."),
        Refusal::NoCredentials | Refusal::UnknownScheme | Refusal::MalformedAuthorization => {
            (code, "AKV10000: Request is missing a Bearer or PoP token.")
        }
        Refusal::BoundUnderBearer => (
            "AggregatedAuthenticationFailure",
            "S2S17001: a token with a confirmation claim was sent as Bearer.",
        ),
        Refusal::UnboundUnderPop => (code, "AKV10023: the MTLS_POP token has no confirmation claim."),
        Refusal::BindingRequired => {
            ("BearerAuthenticationDisabledForKeyVault", "This vault accepts certificate-bound tokens only.")
        }
        Refusal::OptInMissing => (
            code,
            "A client certificate is required for the MTLS_POP token: send 'x-ms-tokenboundauth: true'.",
        ),
        Refusal::NoCertificate => (code, "MissingClientCertificate: the request has no certificate."),
        Refusal::CertificateMismatch { .. } | Refusal::CertificateDates { .. } => {
            (code, "The client certificate is not the one the MTLS_POP token is bound to.")
        }
        other => return (code, format!("AKV10022: Invalid token: {}.", other.description()).into()),
    };
    (code, message.into())
}
