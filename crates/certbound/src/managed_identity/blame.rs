//! Whom a refusal of the token service blames: the machine's certificate, or the attestation it was issued with.

use crate::certificate::is_blamed_in_tls;
use crate::error::Error;

/// Whether another certificate may be taken where this one was refused.
pub(super) fn blames_certificate(error: &Error) -> bool {
    match error {
        Error::Refused { answer, .. } => answer.code.eq_ignore_ascii_case("invalid_client"),
        error => is_blamed_in_tls(error),
    }
}

/// The five numbers by which the token service refuses the attestation that a certificate came with.
pub(super) fn blames_attestation(error: &Error) -> bool {
    matches!(error.aadsts(), Some(1_000_610..=1_000_614))
}
