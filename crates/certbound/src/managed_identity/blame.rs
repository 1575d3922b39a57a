//! Whom a refusal of the token service blames: the machine's certificate, or the attestation it was issued with.

use crate::certificate::Blame;
use crate::error::Error;

/// Of a machine's certificate; none where another one would not help. It is all that proves the identity, so whatever its
/// service says of the client, it says of the certificate.
pub(super) fn blame_of(error: &Error) -> Option<Blame> {
    match error {
        Error::Refused { answer, .. } => {
            answer.code.eq_ignore_ascii_case("invalid_client").then_some(Blame::Refused)
        }
        error => Blame::in_tls(error),
    }
}

/// The five numbers by which the token service refuses the attestation that a certificate came with.
pub(super) fn blames_attestation(error: &Error) -> bool {
    matches!(error.aadsts(), Some(1_000_610..=1_000_614))
}
