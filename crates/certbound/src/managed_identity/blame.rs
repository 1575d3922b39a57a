//! The errors of the token service that blame the machine's certificate or its attestation.

use crate::certificate::Blame;
use crate::error::Error;

/// Returns the certainty with which an error blames the machine's certificate. It is `None` if a different certificate
/// would not help. The certificate is the only proof of the identity, so `invalid_client` always blames it.
pub(super) fn blame_of(error: &Error) -> Option<Blame> {
    match error {
        Error::Refused { answer, .. } => {
            answer.code.eq_ignore_ascii_case("invalid_client").then_some(Blame::Refused)
        }
        error => Blame::in_tls(error),
    }
}

/// Returns whether the token service refused the attestation of a certificate. The service has five AADSTS numbers for
/// this refusal.
pub(super) fn blames_attestation(error: &Error) -> bool {
    // A request that was not sent gives no new information about the attestation.
    !error.is_throttled() && matches!(error.aadsts(), Some(1_000_610..=1_000_614))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use certbound_core::refusal::AuthorityError;

    use super::*;

    #[test]
    fn a_request_that_was_not_sent_blames_neither_certificate_nor_attestation() {
        let body = br#"{"error":"invalid_client","error_codes":[1000610]}"#;
        let first = Error::refused(None, AuthorityError::parse(401, &Default::default(), body));
        assert!(blames_attestation(&first) && blame_of(&first).is_some());
        let error = Error::Throttled { first: Arc::new(first), left: Duration::from_secs(1) };
        assert!(!blames_attestation(&error) && blame_of(&error).is_none());
    }
}
