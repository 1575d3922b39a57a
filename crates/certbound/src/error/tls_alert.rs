//! The alerts by which the other side ends TLS.

use std::fmt;

use super::TransportError;

/// The number of an alert by which the other side ended TLS (RFC 8446, section 6.2).
///
/// A transport that does not use rustls reports an alert as the cause of its error: `Cause::new(TlsAlert(42))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsAlert(pub u8);

/// The alerts that reject a certificate.
const REJECTING: [(u8, &str); 8] = [
    (42, "bad_certificate"),
    (43, "unsupported_certificate"),
    (44, "certificate_revoked"),
    (45, "certificate_expired"),
    (46, "certificate_unknown"),
    (48, "unknown_ca"),
    (49, "access_denied"),
    (116, "certificate_required"),
];

impl TlsAlert {
    /// Returns whether the alert rejects the certificate of the side that receives it: `bad_certificate`,
    /// `unsupported_certificate`, `certificate_revoked`, `certificate_expired`, `certificate_unknown`, `unknown_ca`,
    /// `access_denied` or `certificate_required`.
    pub fn rejects_certificate(self) -> bool {
        REJECTING.iter().any(|(number, _)| *number == self.0)
    }
}

/// Writes the name of the alert if it rejects a certificate, otherwise its number.
impl fmt::Display for TlsAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match REJECTING.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => write!(f, "TLS alert {name}"),
            None => write!(f, "TLS alert {}", self.0),
        }
    }
}

impl std::error::Error for TlsAlert {}

impl TransportError {
    /// Returns the alert by which the server ended TLS.
    pub fn alert(&self) -> Option<TlsAlert> {
        let (Self::Tls { reason, .. }
        | Self::CertificateRefused { reason, .. }
        | Self::Interrupted { reason, .. }
        | Self::EndedAfterCertificate { reason, .. }) = self
        else {
            return None;
        };
        match reason.find() {
            Some(rustls::Error::AlertReceived(alert)) => Some(TlsAlert((*alert).into())),
            _ => reason.find().copied(),
        }
    }

    /// Returns the same error, or [`CertificateRefused`](Self::CertificateRefused) for an alert that rejects the
    /// certificate. In TLS 1.3 the alert arrives after the handshake, so a transport sees a broken connection.
    ///
    /// Clients do this for each request with a certificate. A program that calls a [`Transport`](crate::Transport)
    /// itself can do the same.
    pub fn or_certificate_refused(self) -> Self {
        match (self.alert().filter(|alert| alert.rejects_certificate()), self) {
            (
                Some(alert),
                Self::Tls { host, reason }
                | Self::Interrupted { host, reason }
                | Self::EndedAfterCertificate { host, reason },
            ) => Self::CertificateRefused { host, alert, reason },
            (_, other) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use certbound_core::cause::Cause;
    use rustls::AlertDescription;

    use super::*;

    #[test]
    fn an_alert_is_known_by_its_type_and_not_by_its_text() {
        let tls = |reason| TransportError::Tls { host: "h".to_owned(), reason };
        let alert = |alert| Cause::new(io::Error::other(rustls::Error::AlertReceived(alert)));
        for (description, rejects) in [
            (AlertDescription::BadCertificate, true),
            (AlertDescription::UnsupportedCertificate, true),
            (AlertDescription::CertificateRevoked, true),
            (AlertDescription::CertificateExpired, true),
            (AlertDescription::CertificateUnknown, true),
            (AlertDescription::UnknownCA, true),
            (AlertDescription::AccessDenied, true),
            (AlertDescription::CertificateRequired, true),
            (AlertDescription::HandshakeFailure, false),
            (AlertDescription::IllegalParameter, false),
            (AlertDescription::InternalError, false),
        ] {
            let error = tls(alert(description));
            assert_eq!(error.alert().map(TlsAlert::rejects_certificate), Some(rejects), "{description:?}");
            let error = error.or_certificate_refused();
            assert_eq!(error.code() == "certificate_refused", rejects, "{description:?}");
            assert!(!error.is_transient() && error.alert().is_some());
        }
        let of_another_library =
            TransportError::Interrupted { host: "h".to_owned(), reason: Cause::new(TlsAlert(42)) };
        assert_eq!(of_another_library.alert(), Some(TlsAlert(42)));
        assert!(of_another_library.is_transient(), "without its alert, the error is a broken connection");
        let refused = of_another_library.or_certificate_refused();
        assert!(!refused.is_transient());
        assert_eq!(
            refused.to_string(),
            "h: the server refused the client certificate (TLS alert bad_certificate)"
        );
        assert_eq!(tls("received fatal alert: BadCertificate".into()).alert(), None);
        assert_eq!(TransportError::NotHttps.alert(), None);
    }
}
