//! The failures of the network.

use std::io;
use std::time::Duration;

use certbound_core::cause::Cause;
use certbound_core::managed_identity::ServerThumbprint;
pub use certbound_core::phase::Phase;
use certbound_core::refusal::recovery::Failure;
pub use certbound_core::untrusted::Untrusted;
use http::StatusCode;
use strum::EnumProperty as _;

use super::TlsAlert;
use super::machine_key::{fix_of_signer, signer_is_transient};
use super::transport_advice::{fix_of_late, fix_of_tls};

/// The reason why no complete response was received. The error names hosts, but contains no part of a request or
/// response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum TransportError {
    /// A time limit was exceeded.
    #[error("{host}: {phase}{} took longer than {} s", through(.proxy.as_deref()), .limit.as_secs_f32())]
    #[strum(props(code = "request_timeout"))]
    #[strum(props(
        fix = "send the request again, or raise the limit (NetworkBuilder::exchange_timeout, --timeout)"
    ))]
    TimedOut {
        /// The host of the request.
        host: String,
        /// The phase that exceeded its limit.
        phase: Phase,
        /// The limit.
        limit: Duration,
        /// The host and port of the proxy, if the request used a proxy.
        proxy: Option<String>,
    },
    /// The connection could not be opened. The name, the route or the port may be the cause.
    #[error("{host}: the connection failed: {reason}")]
    #[strum(props(code = "connect_failed"))]
    #[strum(props(
        fix = "check the name, the network and the firewall; if the network requires a proxy, set HTTPS_PROXY"
    ))]
    Connect {
        /// The host of the request.
        host: String,
        /// The system's error.
        #[source]
        reason: Cause,
    },
    /// The connection to the proxy could not be opened, or broke before the proxy answered.
    #[error("{host}: the connection to the proxy {proxy} failed: {reason}")]
    #[strum(props(code = "proxy_failed"))]
    #[strum(props(
        fix = "check the proxy's address (HTTPS_PROXY); if this host needs no proxy, add it to NO_PROXY"
    ))]
    Proxy {
        /// The host of the request.
        host: String,
        /// The host and port of the proxy.
        proxy: String,
        /// The error of the connection.
        #[source]
        reason: Cause,
    },
    /// The proxy refused to open a tunnel to the host.
    #[error("{host}: the proxy {proxy} {}", refusal_of_proxy(*.status))]
    #[strum(props(code = "proxy_failed"))]
    #[strum(props(
        fix = "ask the operator of the proxy to allow CONNECT to this host; if this host needs no proxy, add it to NO_PROXY"
    ))]
    ProxyRefused {
        /// The host of the request.
        host: String,
        /// The host and port of the proxy.
        proxy: String,
        /// The status of the proxy's answer.
        status: u16,
    },
    /// The TLS handshake failed.
    #[error("{host}: the TLS handshake failed: {reason}")]
    #[strum(props(code = "tls_failed"))]
    Tls {
        /// The host of the request.
        host: String,
        /// The error of the TLS library or of the system, or an [`Untrusted`](crate::error::Untrusted).
        #[source]
        reason: Cause,
    },
    /// The signer of the client certificate's private key failed in the TLS handshake.
    #[error("{host}: the signer of the client certificate's private key failed: {reason}")]
    #[strum(props(code = "cryptographic_error"))]
    Signer {
        /// The host of the request.
        host: String,
        /// The signer's error.
        #[source]
        reason: Cause,
    },
    /// The server refused the client's certificate in TLS.
    #[error("{host}: the server refused the client certificate ({alert})")]
    #[strum(props(code = "certificate_refused"))]
    #[strum(props(
        fix = "use a certificate that is valid now, is not revoked, and was issued by an issuer that the server trusts"
    ))]
    CertificateRefused {
        /// The host of the request.
        host: String,
        /// The alert by which the server ended TLS.
        alert: TlsAlert,
        /// The TLS library's error.
        #[source]
        reason: Cause,
    },
    /// The server is not the pinned server, so the request was not sent.
    #[error(
        "{host}: the server's certificate has the SHA-1 thumbprint {presented}, but the pinned thumbprint is {pinned}, so the request was not sent"
    )]
    #[strum(props(code = "server_not_pinned"))]
    #[strum(props(
        fix = "restart this program on the platform: if the server's certificate changed, only a new process gets the new IDENTITY_SERVER_THUMBPRINT; if the error remains, a different server answers at this address"
    ))]
    ServerNotPinned {
        /// The host of the request.
        host: String,
        /// The pinned thumbprint.
        pinned: ServerThumbprint,
        /// The thumbprint of the certificate that the server presented.
        presented: ServerThumbprint,
    },
    /// The server did not request the client's certificate, so the request was not sent.
    #[error("{host} did not request the client certificate, so the request was not sent")]
    #[strum(props(code = "certificate_not_requested"))]
    #[strum(props(
        fix = "use the host that accepts client certificates (a resource's mTLS host, a cloud's mtlsauth host), or a Bearer token without mutual TLS"
    ))]
    CertificateNotRequested {
        /// The host of the request.
        host: String,
    },
    /// The server requested no certificate after the handshake either, so the request was not sent. A transport that
    /// can renegotiate TLS returns this error.
    #[error("{host}: {reason}, so the request was not sent")]
    #[strum(props(code = "certificate_not_requested"))]
    CertificateNotRequestedLate {
        /// The host of the request.
        host: String,
        /// The event that the transport saw instead of a request for the certificate.
        #[source]
        reason: Cause,
    },
    /// The server renegotiated TLS a second time or at a wrong moment, so the connection was closed.
    #[error("{host}: the client closed the connection: {reason}")]
    #[strum(props(code = "renegotiation_refused"))]
    #[strum(props(
        fix = "ask the server's operator why the server renegotiates TLS again; it may renegotiate once, before its first answer"
    ))]
    Renegotiated {
        /// The host of the request.
        host: String,
        /// The renegotiation that the transport refused.
        #[source]
        reason: Cause,
    },
    /// The server did not request the certificate in the first handshake. To present the certificate later, the
    /// transport needs the bytes of the private key, but a signer has the key. The request was not sent.
    #[error(
        "{host} did not request the certificate in the first handshake; OpenSSL can present it later only with the bytes of the private key, which this program does not have; the request was not sent"
    )]
    #[strum(props(code = "key_not_exportable"))]
    #[strum(props(
        fix = "use a certificate whose private key is in a file, or a Bearer token; OpenSSL reaches a key in a device only by an engine or a provider, which certbound does not load"
    ))]
    KeyNotExportable {
        /// The host of the request.
        host: String,
    },
    /// The connection ended before the response was complete, or the response was not HTTP.
    #[error("{host}: the connection broke: {reason}")]
    #[strum(props(code = "connection_interrupted", fix = "send the request again"))]
    Interrupted {
        /// The host of the request.
        host: String,
        /// The error of the HTTP library, of the TLS library or of the system.
        #[source]
        reason: Cause,
    },
    /// After the client's certificate was sent, the server ended the connection without any part of a response. The
    /// server may have rejected the certificate without an alert.
    #[error("{host}: the connection ended after the client certificate was sent: {reason}")]
    #[strum(props(code = "connection_interrupted"))]
    #[strum(props(
        fix = "send the request again; if the error remains, check that the server accepts the certificate (at a token service: that it is registered with the application)"
    ))]
    EndedAfterCertificate {
        /// The host of the request.
        host: String,
        /// The error of the system or of the TLS library.
        #[source]
        reason: Cause,
    },
    /// The response is larger than allowed.
    #[error("{host}: the answer is larger than {limit} bytes")]
    #[strum(props(code = "answer_too_large", fix = "check that the URL has the intended host"))]
    TooLarge {
        /// The host of the request.
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
    /// Returns the kind of this failure in the table of recoveries. The result is `None` if the caller or the signer of
    /// the key failed.
    pub(super) fn failure(&self) -> Option<Failure> {
        match self {
            Self::CertificateRefused { .. } => Some(Failure::CertificateAlert),
            Self::EndedAfterCertificate { .. } => Some(Failure::EndedAfterCertificate),
            Self::Tls { .. }
            | Self::ServerNotPinned { .. }
            | Self::CertificateNotRequested { .. }
            | Self::CertificateNotRequestedLate { .. }
            | Self::Renegotiated { .. } => Some(Failure::ServerRejected),
            Self::Connect { .. } | Self::Proxy { .. } | Self::ProxyRefused { .. } => {
                Some(Failure::NotConnected)
            }
            Self::Interrupted { .. } | Self::TooLarge { .. } => Some(Failure::ConnectionLost),
            Self::TimedOut { .. } => Some(Failure::TimedOut),
            Self::Signer { .. } | Self::KeyNotExportable { .. } | Self::NotHttps => None,
        }
    }

    /// Returns the stable name of this error.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::TimedOut { phase: Phase::Connect, .. } => {
                "check the network, the firewall and the proxy, or raise the limit (NetworkBuilder::connect_timeout, --connect-timeout)"
            }
            Self::ProxyRefused { status: 407, .. } => {
                "give the user name and password of the proxy: HTTPS_PROXY=http://user:password@host:port"
            }
            Self::ProxyRefused { status: 500.., .. } => {
                "check the name of the host, and ask the operator of the proxy why the proxy cannot reach this host"
            }
            Self::CertificateNotRequestedLate { reason, .. } => fix_of_late(reason),
            Self::Tls { reason, .. } => fix_of_tls(reason),
            Self::Signer { reason, .. } => fix_of_signer(reason),
            Self::CertificateNotRequested { host } if host.ends_with("graph.microsoft.com") => {
                "use https://mtlstb.graph.microsoft.com, which requests the certificate"
            }
            Self::CertificateNotRequested { host } if host.contains(".vault.") => {
                "Key Vault requests the certificate after the handshake, by a TLS 1.2 renegotiation, and rustls does not renegotiate: use the transport of the crate certbound-openssl (for the command, a build with `cargo install certbound-cli --features openssl`), or a Bearer token for this host"
            }
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }

    /// Returns the stable name of this error of a managed identity's token request. MSAL.NET has one name for every
    /// failure of the connection. MSAL.NET has no name for a failure that only certbound reports.
    pub(super) fn code_of_managed_identity(&self) -> &'static str {
        match self {
            Self::TimedOut { phase: Phase::Connect, .. }
            | Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::ProxyRefused { .. }
            | Self::Tls { .. }
            | Self::CertificateRefused { .. }
            | Self::Interrupted { .. }
            | Self::EndedAfterCertificate { .. } => "managed_identity_unreachable_network",
            Self::TimedOut { .. }
            | Self::Signer { .. }
            | Self::ServerNotPinned { .. }
            | Self::CertificateNotRequested { .. }
            | Self::CertificateNotRequestedLate { .. }
            | Self::Renegotiated { .. }
            | Self::KeyNotExportable { .. }
            | Self::TooLarge { .. }
            | Self::NotHttps => self.code(),
        }
    }

    /// Returns the host of the request.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::TimedOut { host, .. }
            | Self::Connect { host, .. }
            | Self::Proxy { host, .. }
            | Self::ProxyRefused { host, .. }
            | Self::Tls { host, .. }
            | Self::Signer { host, .. }
            | Self::CertificateRefused { host, .. }
            | Self::ServerNotPinned { host, .. }
            | Self::CertificateNotRequested { host }
            | Self::CertificateNotRequestedLate { host, .. }
            | Self::Renegotiated { host, .. }
            | Self::KeyNotExportable { host }
            | Self::Interrupted { host, .. }
            | Self::EndedAfterCertificate { host, .. }
            | Self::TooLarge { host, .. } => Some(host),
            Self::NotHttps => None,
        }
    }

    /// Returns whether the connection could not be opened, for a reason that the next attempt may not have. No byte of
    /// the request was sent.
    pub(crate) fn failed_to_connect(&self) -> bool {
        match self {
            Self::TimedOut { phase, .. } => *phase == Phase::Connect,
            Self::Connect { .. } => true,
            // Without an I/O error, the other side refused the connection, or this side does not trust the other side.
            Self::Proxy { reason, .. } | Self::Tls { reason, .. } => reason.find::<io::Error>().is_some(),
            _ => false,
        }
    }

    /// Returns whether the host could not be reached. The result is true if a proxy refuses to open the tunnel. The
    /// result is false for a failed TLS handshake, because the host was reached. The result is true for a handshake
    /// beyond the time limit of the connection, because `Phase::Connect` includes the handshake.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Proxy { .. }
                | Self::ProxyRefused { .. }
                | Self::TimedOut { phase: Phase::Connect, .. }
        )
    }

    /// Returns whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        self.failed_to_connect()
            || matches!(self, Self::Signer { reason, .. } if signer_is_transient(reason))
            || matches!(
                self,
                Self::TimedOut { .. }
                    | Self::Connect { .. }
                    | Self::Proxy { .. }
                    | Self::ProxyRefused { status: 408 | 429 | 500.., .. }
                    | Self::Interrupted { .. }
                    | Self::EndedAfterCertificate { .. }
            )
    }
}

fn through(proxy: Option<&str>) -> String {
    proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
}

fn refusal_of_proxy(status: u16) -> String {
    match StatusCode::from_u16(status) {
        Ok(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => {
            "requires a user name and a password (status 407)".to_owned()
        }
        Ok(status) => format!("refused to open a connection: it answered {status}"),
        Err(_) => format!("refused to open a connection: it answered {status}"),
    }
}
