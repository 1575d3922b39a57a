//! The errors that blame the client's certificate, by the table of recoveries.

use certbound_core::refusal::recovery::{CertificateAction, Recovery};

use crate::error::Error;

/// The certainty that a certificate is the cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The token service or its TLS server refused the certificate.
    Refused {
        /// The number by which the token service refused it. `None` for a TLS alert.
        aadsts: Option<u32>,
    },
    /// The connection ended after the certificate was sent. The end of a connection can have other causes too.
    Suspected,
}

impl Blame {
    /// Returns the certainty with which an error blames the certificate of a client. It is `None` if a different certificate would not
    /// help.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        Self::by(error, |row| row.source)
    }

    /// Returns the certainty with which an error of Leg 2 blames the certificate of the Leg 1 whose assertion was presented.
    pub(crate) fn of_leg1(error: &Error) -> Option<Self> {
        Self::by(error, |row| row.leg1)
    }

    /// Returns the certainty with which an error blames the certificate of a managed identity.
    pub(crate) fn of_machine(error: &Error) -> Option<Self> {
        Self::by(error, |row| row.machine)
    }

    fn by(error: &Error, column: fn(&Recovery) -> CertificateAction) -> Option<Self> {
        match column(&error.failure()?.recovery()) {
            CertificateAction::Refuse => Some(Self::Refused { aadsts: error.aadsts() }),
            CertificateAction::Suspect => Some(Self::Suspected),
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
        let refused = Some(Blame::Refused { aadsts: Some(700_027) });
        assert_eq!([Blame::of(&first), Blame::of_leg1(&first), Blame::of_machine(&first)], [refused; 3]);
        let error = Error::Throttled { first: Arc::new(first), left: Duration::from_secs(1) };
        assert_eq!((Blame::of(&error), Blame::of_machine(&error)), (None, None));
        assert_eq!(error.aadsts(), Some(700_027));
    }
}
