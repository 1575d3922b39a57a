//! The errors of a request.

use std::io;
use std::time::Duration;

use certbound_core::cause::Cause;
use certbound_core::phase::Phase;
use http::StatusCode;

/// The reason why a request has no answer. No variant has a field for the URL's host or for a part of the request,
/// because the caller already has both.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not an absolute `https` URL with a host.
    #[error("the URL is not an absolute https:// URL with a host")]
    NotHttps,
    /// A time limit was reached.
    #[error("{phase} took longer than {} s", .limit.as_secs_f32())]
    TimedOut {
        /// The part that took too long.
        phase: Phase,
        /// The limit.
        limit: Duration,
        /// The host and port of the proxy, if the request used a proxy.
        proxy: Option<String>,
    },
    /// The name was not found, or the server could not be reached.
    #[error("the connection failed: {reason}")]
    Connect {
        /// The error message of the system.
        #[source]
        reason: Cause,
    },
    /// The URL of the proxy does not begin with `http://`.
    #[error("the URL of the proxy does not begin with http://")]
    ProxyKind,
    /// The client could not open the connection to the proxy, the connection broke, or the proxy sent invalid data.
    #[error("the connection to the proxy {proxy} failed: {reason}")]
    Proxy {
        /// The host and port of the proxy.
        proxy: String,
        /// The error message.
        #[source]
        reason: Cause,
    },
    /// The proxy refused to open a tunnel.
    #[error("the proxy {proxy} refused to open a connection: it answered {status}")]
    ProxyRefused {
        /// The host and port of the proxy.
        proxy: String,
        /// The status of the proxy's answer.
        status: StatusCode,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {cause}")]
    Tls {
        /// The cause is an [`Untrusted`](certbound_core::untrusted::Untrusted) if [`Explaining`](crate::Explaining)
        /// refused the server's certificate. Otherwise it is the error of TLS (a [`rustls::Error`], perhaps as a
        /// source), or the reason for the end of the handshake.
        #[source]
        cause: Cause,
    },
    /// The server did not request the client's certificate, so the client sent no HTTP request.
    #[error("the server did not request the client certificate")]
    CertificateNotRequested,
    /// After the client sent its certificate, the server ended the connection without an answer.
    #[error("the connection ended after the client certificate was sent: {reason}")]
    EndedAfterCertificate {
        /// The error message of the system or of the TLS library.
        #[source]
        reason: Cause,
    },
    /// The connection broke, or the server's answer was not HTTP.
    #[error("the connection broke: {reason}")]
    Interrupted {
        /// The error message.
        #[source]
        reason: Cause,
    },
    /// The head or the body of the answer is larger than allowed.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl Error {
    /// Returns the error of this crate that `error` or one of its causes wraps.
    pub(crate) fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            // `source()` of an I/O error does not return the inner error.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(ours) = error.downcast_ref().or_else(|| inner?.downcast_ref()) {
                return Some(ours);
            }
            cause = error.source();
        }
        None
    }
}
