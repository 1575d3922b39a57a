//! The errors that blame the client's certificate, by the table of recoveries.

use certbound_core::refusal::recovery::{CertificateAction, Recovery};

use crate::error::Error;

/// The certainty that a certificate is the cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The token service or its TLS server refused the certificate.
    Refused {
        /// The number by which the token service refused the certificate. The value is `None` for a TLS alert, and for
        /// a refusal without a number.
        aadsts: Option<u32>,
    },
    /// The certificate may be the cause. For example, the connection ended after the certificate was sent, or the token
    /// service refused an assertion of Leg 1.
    Suspected {
        /// The number of the refusal. The value is `None` without a refusal, and for a refusal without a number.
        aadsts: Option<u32>,
    },
    /// The certificate is not the cause: the handle of its key did not sign, for example because its hardware token was
    /// taken out. The client sent no request. The same certificate with a key that was opened again is a replacement.
    NotSigned {
        /// Whether the handle will never sign again ([`KeyError::handle_gone`](crate::error::KeyError::handle_gone)).
        /// If this is false, the handle can perhaps sign later.
        is_gone: bool,
    },
}

impl Blame {
    /// Returns the certainty with which an error blames the certificate of a client. The result is `None` if a
    /// different certificate would not help.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        Self::by(error, |row| row.source)
    }

    /// Returns the certainty with which an error of Leg 2 blames the certificate of its Leg 1.
    pub(crate) fn of_leg1(error: &Error) -> Option<Self> {
        Self::by(error, |row| row.leg1)
    }

    /// Returns the certainty with which an error blames the certificate of a managed identity.
    pub(crate) fn of_machine(error: &Error) -> Option<Self> {
        Self::by(error, |row| row.machine)
    }

    fn by(error: &Error, column: fn(&Recovery) -> CertificateAction) -> Option<Self> {
        if let Some(is_gone) = error.not_signed() {
            return Some(Self::NotSigned { is_gone });
        }
        match column(&error.failure()?.recovery()) {
            CertificateAction::Refuse => Some(Self::Refused { aadsts: error.deciding_aadsts() }),
            CertificateAction::Suspect => Some(Self::Suspected { aadsts: error.deciding_aadsts() }),
            _ => None,
        }
    }

    /// Returns this blame for a certificate that may differ from the refused certificate: a refusal becomes a
    /// suspicion.
    pub(crate) fn of_another(self) -> Self {
        match self {
            Self::Refused { aadsts } | Self::Suspected { aadsts } => Self::Suspected { aadsts },
            Self::NotSigned { .. } => self,
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
        let several = br#"{"error":"invalid_client","error_codes":[5,7000214]}"#;
        let several = Error::refused(None, AuthorityError::parse(401, &Default::default(), several));
        assert_eq!(Blame::of(&several), Some(Blame::Refused { aadsts: Some(7_000_214) }));
        let late = br#"{"error":"invalid_client","error_codes":[700024]}"#;
        let late = Error::refused(None, AuthorityError::parse(401, &Default::default(), late));
        assert_eq!(Blame::of_leg1(&late), Some(Blame::Suspected { aadsts: Some(700_024) }));
        let error = Error::Throttled { first: Arc::new(first), left: Duration::from_secs(1) };
        assert_eq!((Blame::of(&error), Blame::of_machine(&error)), (None, None));
        assert_eq!(error.aadsts(), Some(700_027));
    }
}
