//! Whom a refusal of the token service blames: the machine's certificate, or the attestation it was issued with.

use crate::certificate::is_blamed_in_tls;
use crate::error::Error;
use crate::transport::TransportError;

/// How sure it is that a certificate is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The service said so, or its TLS did.
    Refused,
    /// The connection ended once the certificate was sent, which has other causes too.
    Suspected,
}

impl Blame {
    /// None where another certificate would not help.
    pub(super) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Refused { answer, .. } => {
                answer.code.eq_ignore_ascii_case("invalid_client").then_some(Self::Refused)
            }
            Error::Transport { cause: TransportError::EndedAfterCertificate { .. }, .. } => {
                Some(Self::Suspected)
            }
            error => is_blamed_in_tls(error).then_some(Self::Refused),
        }
    }
}

/// The five numbers by which the token service refuses the attestation that a certificate came with.
pub(super) fn blames_attestation(error: &Error) -> bool {
    matches!(error.aadsts(), Some(1_000_610..=1_000_614))
}
