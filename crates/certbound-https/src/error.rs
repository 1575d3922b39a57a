//! Why there is no answer.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::shown::one_line;

/// The part of an exchange that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// TCP, proxy tunnel and TLS.
    Connect,
    /// From the request to the end of the answer.
    Exchange,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Exchange => "the exchange",
        })
    }
}

/// Why there is no answer. It holds neither the host nor anything of the request: the caller knows both.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not an absolute `https` URL with a host.
    #[error("the URL is not an absolute https:// URL with a host")]
    NotHttps,
    /// A time limit was reached.
    #[error("{phase} took longer than {} s", .limit.as_secs_f32())]
    TimedOut {
        /// What took too long.
        phase: Phase,
        /// The limit.
        limit: Duration,
    },
    /// The name was not found, or the server could not be reached.
    #[error("cannot connect: {reason}")]
    Connect {
        /// What the system said.
        reason: String,
    },
    /// The proxy is not one that is reached by plain HTTP.
    #[error("the proxy is not an http:// one")]
    ProxyKind,
    /// The proxy did not open the tunnel.
    #[error("the proxy did not connect: {reason}")]
    Proxy {
        /// What the proxy said.
        reason: String,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {cause}")]
    Tls {
        /// What the TLS library said; a [`rustls::Error`] is inside of it.
        cause: Arc<io::Error>,
    },
    /// The server did not ask for our certificate, so nothing was sent to it.
    #[error("the server did not ask for the client certificate")]
    CertificateNotRequested,
    /// The server ended the connection after our certificate was sent, and before it answered anything.
    #[error("the connection ended after the client certificate was sent: {reason}")]
    EndedAfterCertificate {
        /// What the system or the TLS library said.
        reason: String,
    },
    /// The connection broke, or the server did not speak HTTP.
    #[error("the connection broke: {reason}")]
    Interrupted {
        /// What the HTTP library said.
        reason: String,
    },
    /// The head or the body of the answer is larger than allowed.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl Error {
    pub(crate) fn interrupted(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Interrupted { reason: chain(error) }
    }

    /// The error of this crate in an error of another library, which may have wrapped it.
    pub(crate) fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            // An I/O error does not name its inner error as its source.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(ours) = error.downcast_ref().or_else(|| inner?.downcast_ref()) {
                return Some(ours);
            }
            cause = error.source();
        }
        None
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    one_line(&text).into_owned()
}
