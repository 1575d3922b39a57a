//! The errors that blame the client's certificate.

use crate::error::{Error, TransportError};

/// The AADSTS numbers that blame the certificate. In this order: the certificate is not registered; its subject is not
/// authorised; it is not trusted by subject name and issuer; it has expired.
const BLAMED_BY: [u32; 4] = [700_027, 700_030, 392_189, 392_204];

/// The certainty that a certificate is the cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The token service or its TLS server refused the certificate.
    Refused,
    /// The connection ended after the certificate was sent. The end of a connection can have other causes too.
    Suspected,
}

impl Blame {
    /// Returns the certainty with which an error blames the client's certificate. It is `None` if a different
    /// certificate would not help.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        // No request was sent, so there is no new information about the certificate.
        if error.is_throttled() {
            return None;
        }
        let refused = error.aadsts().is_some_and(|number| BLAMED_BY.contains(&number));
        refused.then_some(Self::Refused).or_else(|| Self::in_tls(error))
    }

    /// Returns the certainty with which a server blames the client's certificate in TLS. The server sends an alert, or
    /// closes the connection after the certificate was sent. The result is `None` if the client refused the server's
    /// certificate.
    pub(crate) fn in_tls(error: &Error) -> Option<Self> {
        let Error::Transport { cause, .. } = error else { return None };
        match cause {
            TransportError::CertificateRefused { .. } => Some(Self::Refused),
            TransportError::EndedAfterCertificate { .. } => Some(Self::Suspected),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use certbound_core::refusal::AuthorityError;

    use super::*;

    #[test]
    fn a_request_that_was_not_sent_blames_nothing() {
        let body = br#"{"error":"invalid_client","error_codes":[700027]}"#;
        let first = Error::refused(None, AuthorityError::parse(401, &Default::default(), body));
        assert_eq!(Blame::of(&first), Some(Blame::Refused));
        let error = Error::Throttled { first: Arc::new(first), left: Duration::from_secs(1) };
        assert_eq!((Blame::of(&error), error.aadsts()), (None, Some(700_027)));
    }
}
