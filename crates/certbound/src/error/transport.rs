//! The failures of the network.

use std::time::Duration;

use certbound_core::cause::Cause;
use certbound_core::managed_identity::ServerThumbprint;
pub use certbound_https::Phase;
use strum::EnumProperty as _;

/// An alert by which the other side ended TLS, by its number (RFC 8446, section 6.2).
///
/// A transport that does not use rustls reports an alert as the cause of its error: `Cause::new(TlsAlert(42))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the server ended TLS with alert {0}")]
pub struct TlsAlert(pub u8);

impl TlsAlert {
    /// Whether the alert rejects the certificate of the side that receives it: `bad_certificate`,
    /// `unsupported_certificate`, `certificate_revoked`, `certificate_expired`, `certificate_unknown`, `unknown_ca`,
    /// `access_denied` or `certificate_required`.
    pub fn rejects_certificate(self) -> bool {
        matches!(self.0, 42..=46 | 48 | 49 | 116)
    }
}

/// The reason why there is no answer. The error names hosts, but never the contents of requests or answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum TransportError {
    /// A limit on time was reached.
    #[error("{host}: {phase} took longer than {} s", .limit.as_secs_f32())]
    #[strum(props(code = "request_timeout", fix = "try again, or raise the limit"))]
    TimedOut {
        /// The host that was addressed.
        host: String,
        /// The phase that took too long.
        phase: Phase,
        /// The limit.
        limit: Duration,
    },
    /// The connection could not be opened. The name, the route or the port may be the cause.
    #[error("{host}: cannot connect: {reason}")]
    #[strum(props(code = "connect_failed"))]
    #[strum(props(
        fix = "check the name, the network and the firewall; set HTTPS_PROXY where one is needed"
    ))]
    Connect {
        /// The host that was addressed.
        host: String,
        /// The system's error.
        #[source]
        reason: Cause,
    },
    /// The proxy did not open the tunnel.
    #[error("{host}: the proxy did not connect: {reason}")]
    #[strum(props(code = "proxy_failed"))]
    #[strum(props(fix = "check HTTPS_PROXY, its password, and that it allows CONNECT to this host"))]
    Proxy {
        /// The host that was addressed.
        host: String,
        /// The proxy error.
        #[source]
        reason: Cause,
    },
    /// The TLS handshake failed.
    #[error("{host}: the TLS handshake failed: {reason}")]
    #[strum(props(code = "tls_failed"))]
    #[strum(props(
        fix = "check the trusted roots (SSL_CERT_FILE) and that nothing between here and the host ends TLS"
    ))]
    Tls {
        /// The host that was addressed.
        host: String,
        /// The TLS library's error.
        #[source]
        reason: Cause,
    },
    /// The signer of the client certificate's private key failed in the TLS handshake.
    #[error("{host}: the signer of the client certificate's private key failed: {reason}")]
    #[strum(props(code = "cryptographic_error", fix = "see the signer's own error"))]
    Signer {
        /// The host that was addressed.
        host: String,
        /// The signer's error.
        #[source]
        reason: Cause,
    },
    /// The server is not the one that was pinned, so nothing was sent to it.
    #[error(
        "{host}: the server's certificate has the SHA-1 thumbprint {presented}, and {pinned} is pinned, so nothing was sent to it"
    )]
    #[strum(props(code = "server_not_pinned"))]
    #[strum(props(
        fix = "restart this program where the platform sets the thumbprint, which changes with its certificate; if it stays, another server answers there"
    ))]
    ServerNotPinned {
        /// The host that was addressed.
        host: String,
        /// The pinned thumbprint.
        pinned: ServerThumbprint,
        /// The thumbprint of the certificate that the server presented.
        presented: ServerThumbprint,
    },
    /// The server did not ask for the client's certificate, so nothing was sent to it.
    #[error("{host} did not ask for the client certificate, so nothing was sent to it")]
    #[strum(props(code = "certificate_not_requested"))]
    #[strum(props(
        fix = "use the host that takes client certificates (a resource's mTLS host, a cloud's mtlsauth host), or a Bearer token"
    ))]
    CertificateNotRequested {
        /// The host that was addressed.
        host: String,
    },
    /// The connection ended before the answer was complete.
    #[error("{host}: the connection broke: {reason}")]
    #[strum(props(code = "connection_interrupted", fix = "try again"))]
    Interrupted {
        /// The host that was addressed.
        host: String,
        /// The HTTP library's error.
        #[source]
        reason: Cause,
    },
    /// The server ended the connection after the client's certificate was sent, and before it answered anything. The
    /// server may have rejected the certificate without an alert.
    #[error("{host}: the connection ended after the client certificate was sent: {reason}")]
    #[strum(props(code = "connection_interrupted"))]
    #[strum(props(fix = "try again; if it stays, see whether the certificate is registered"))]
    EndedAfterCertificate {
        /// The host that was addressed.
        host: String,
        /// The error of the system or of the TLS library.
        #[source]
        reason: Cause,
    },
    /// The answer is larger than allowed.
    #[error("{host}: the answer is larger than {limit} bytes")]
    #[strum(props(code = "answer_too_large", fix = "check that the host is what it should be"))]
    TooLarge {
        /// The host that was addressed.
        host: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The URL is not an absolute `https://` URL.
    #[error("the URL is not an absolute https:// URL with a host")]
    #[strum(props(code = "url_not_https", fix = "give a URL that begins with https://"))]
    NotHttps,
}

impl TransportError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// The advice for this error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::CertificateNotRequested { host } if host.ends_with("graph.microsoft.com") => {
                "use https://mtlstb.graph.microsoft.com, which asks for the certificate"
            }
            Self::CertificateNotRequested { host } if host.contains(".vault.") => {
                "today's Key Vault asks after the handshake, which this TLS stack does not do; use a Bearer token there"
            }
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }

    /// The alert by which the server ended TLS.
    pub fn alert(&self) -> Option<TlsAlert> {
        let (Self::Tls { reason, .. }
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

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. }
                | Self::Connect { .. }
                | Self::Proxy { .. }
                | Self::Signer { .. }
                | Self::Interrupted { .. }
                | Self::EndedAfterCertificate { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io;

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
            let found = tls(alert(description)).alert();
            assert_eq!(found.map(TlsAlert::rejects_certificate), Some(rejects), "{description:?}");
        }
        let of_another_library =
            TransportError::Interrupted { host: "h".to_owned(), reason: Cause::new(TlsAlert(42)) };
        assert_eq!(of_another_library.alert(), Some(TlsAlert(42)));
        assert_eq!(tls("received fatal alert: BadCertificate".into()).alert(), None);
        assert_eq!(TransportError::NotHttps.alert(), None);
    }
}
