//! Whom a refusal of the token service blames: the machine's certificate, or the attestation it was issued with.

use crate::error::Error;
use crate::transport::TransportError;

/// Whether another certificate may be taken where this one was refused.
pub(super) fn blames_certificate(error: &Error) -> bool {
    match error {
        Error::Refused { answer, .. } => answer.code.eq_ignore_ascii_case("invalid_client"),
        // What a server says of a client's certificate in TLS; never what we say of the server's.
        Error::Transport {
            cause: TransportError::Tls { reason, .. } | TransportError::Interrupted { reason, .. },
            ..
        } => {
            const ALERTS: [&str; 8] = [
                "BadCertificate",
                "CertificateExpired",
                "CertificateRevoked",
                "CertificateUnknown",
                "UnsupportedCertificate",
                "CertificateRequired",
                "AccessDenied",
                "UnknownCA",
            ];
            ALERTS.iter().any(|alert| reason.contains(&format!("received fatal alert: {alert}")))
        }
        _ => false,
    }
}

/// The five numbers by which the token service refuses the attestation that a certificate came with.
pub(super) fn blames_attestation(error: &Error) -> bool {
    matches!(error.aadsts(), Some(1_000_610..=1_000_614))
}
