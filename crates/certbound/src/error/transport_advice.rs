//! The advice for a failed TLS handshake, and the tests of the advice for time limits, proxies and TLS.

use certbound_core::cause::Cause;

use super::{KeyError, Untrusted};

/// Returns the advice for a certificate that was not presented after the handshake: the advice about its key, if the
/// key is the cause.
pub(super) fn fix_of_late(reason: &Cause) -> &'static str {
    reason.find::<KeyError>().and_then(KeyError::fix).unwrap_or(
        "check that the URL has the name of a vault, and that no proxy between this program and the vault terminates TLS; a vault that does not request certificates accepts only Bearer tokens",
    )
}

/// Returns the advice for a failed handshake.
pub(super) fn fix_of_tls(reason: &Cause) -> &'static str {
    if let Some(untrusted) = reason.find::<Untrusted>() {
        return untrusted.fix();
    }
    match reason.find::<rustls::Error>() {
        Some(rustls::Error::PeerIncompatible(
            rustls::PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
        )) => {
            "use a key with a signature scheme that the server accepts: RSA-PSS or ECDSA for TLS 1.3; a server with TLS 1.2 can need PKCS#1 v1.5"
        }
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "check the port in the URL, and that no proxy answers instead of the server"
        }
        Some(
            rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)
            | rustls::Error::PeerIncompatible(_),
        ) => "ask the server's operator to enable TLS 1.2 or TLS 1.3 with an AES-GCM cipher suite",
        _ => "check the port, and that no proxy between this program and the host terminates TLS",
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use rustls::AlertDescription;

    use super::super::{Phase, TransportError};
    use super::*;

    #[test]
    fn each_failure_has_its_own_advice() {
        let host = || "h".to_owned();
        let tls = |reason: Cause| TransportError::Tls { host: host(), reason };
        let proxy = |status| TransportError::ProxyRefused { host: host(), proxy: "p:1".to_owned(), status };
        let late = |phase| TransportError::TimedOut {
            host: host(),
            phase,
            limit: Duration::from_secs(5),
            proxy: None,
        };
        let of_rustls = |error: rustls::Error| tls(Cause::new(error));
        let unknown = Untrusted::UnknownRoot { issuer: None, is_self_signed: false };
        let late_certificate =
            |reason: Cause| TransportError::CertificateNotRequestedLate { host: host(), reason };
        let key = KeyError::new("no signature algorithm").with_fix("use an RSA key");
        for (error, fix, transient) in [
            (late_certificate("not requested".into()), "the name of a vault", false),
            (late_certificate(Cause::new(key)), "use an RSA key", false),
            (late(Phase::Connect), "--connect-timeout", true),
            (late(Phase::Exchange), "--timeout", true),
            (proxy(407), "user:password@", false),
            (proxy(403), "allow CONNECT", false),
            (proxy(502), "why the proxy cannot reach", true),
            (proxy(429), "allow CONNECT", true),
            (tls(Cause::new(unknown)), "SSL_CERT_FILE", false),
            (of_rustls(rustls::InvalidMessage::InvalidContentType.into()), "the port in the URL", false),
            (
                of_rustls(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)),
                "enable TLS 1.2",
                false,
            ),
            (
                of_rustls(rustls::PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon.into()),
                "RSA-PSS",
                false,
            ),
            (tls("closed".into()), "terminates TLS", false),
            (tls(io::Error::from(io::ErrorKind::ConnectionReset).into()), "terminates TLS", true),
        ] {
            assert!(error.fix().contains(fix), "{error}: {}", error.fix());
            assert_eq!(error.is_transient(), transient, "{error}");
            assert_eq!(error.host(), Some("h"));
        }
        assert_eq!(
            proxy(407).to_string(),
            "h: the proxy p:1 requires a user name and a password (status 407)"
        );
        assert_eq!(
            proxy(403).to_string(),
            "h: the proxy p:1 refused to open a connection: it answered 403 Forbidden"
        );
    }
}
