//! The errors of the token service that blame the machine's certificate or its attestation.

use crate::certificate::Blame;
use crate::error::Error;

/// Returns whether an error blames the machine's certificate. It is `None` if a different certificate would not help.
/// The certificate is the only proof of the identity, so `invalid_client` always blames it.
pub(super) fn blame_of(error: &Error) -> Option<Blame> {
    match error {
        Error::Refused { answer, .. } => {
            answer.code.eq_ignore_ascii_case("invalid_client").then_some(Blame::Refused)
        }
        error => Blame::in_tls(error),
    }
}

/// Returns whether the token service refused the attestation of a certificate. The service has five AADSTS numbers for
/// this.
pub(super) fn blames_attestation(error: &Error) -> bool {
    matches!(error.aadsts(), Some(1_000_610..=1_000_614))
}
