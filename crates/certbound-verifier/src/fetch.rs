//! Fetches documents over HTTPS: metadata and keys only.

mod https;

use std::future::Future;
use std::pin::Pin;

use certbound_core::fips::NotFips;

pub use self::https::HttpsFetch;

/// Fetches documents. Implement this trait to fetch metadata and keys with your own client.
///
/// An implementation must not follow redirects, must limit time and size, and must accept `https` URLs only.
pub trait Fetch: Send + Sync + 'static {
    /// Sends a GET request and returns the body of a response with status 200.
    ///
    /// # Errors
    /// [`FetchError`] for any other result.
    fn get(&self, url: &str) -> impl Future<Output = Result<Vec<u8>, FetchError>> + Send;
}

/// The reason why a document could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL is not an absolute `https` URL.
    #[error("the URL is not an absolute https URL")]
    NotHttps,
    /// The name could not be resolved, or the connection to the host or the proxy failed.
    #[error("the connection failed: {reason}")]
    Connect {
        /// The reason.
        reason: String,
    },
    /// The proxy refused to open a connection, or its URL cannot be used.
    #[error("{reason}")]
    Proxy {
        /// The reason.
        reason: String,
        /// Whether the same request may succeed later without a change.
        is_transient: bool,
    },
    /// The TLS handshake failed, or the trust store could not be read.
    #[error("TLS failed: {reason}")]
    Tls {
        /// The reason.
        reason: String,
    },
    /// The response is not HTTP, or it is incomplete.
    #[error("the answer is not usable: {reason}")]
    Protocol {
        /// The reason.
        reason: String,
    },
    /// The fetch took too long.
    #[error("the server did not answer within {seconds} s")]
    Timeout {
        /// The limit in seconds.
        seconds: u64,
    },
    /// The status is not 200. Redirects are not followed.
    #[error("the server answered with status {status} instead of 200")]
    Status {
        /// The status of the response.
        status: u16,
    },
    /// The document is larger than the limit.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// This build requires FIPS, and its TLS is not in FIPS mode.
    #[error(transparent)]
    NotFips(#[from] NotFips),
}

impl FetchError {
    /// Whether the same request may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Protocol { .. } | Self::Timeout { .. } => true,
            Self::Status { status } => is_transient(*status),
            Self::Proxy { is_transient, .. } => *is_transient,
            Self::NotHttps | Self::Tls { .. } | Self::TooLarge { .. } | Self::NotFips(_) => false,
        }
    }

    /// Whether the server reported that the document does not exist.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Status { status: 404 | 410 })
    }
}

/// Whether a server or proxy that answers with this status may give a different answer later.
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}

type Fetched<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send + 'a>>;

/// The object-safe form of [`Fetch`].
pub(crate) trait AnyFetch: Send + Sync {
    fn get<'a>(&'a self, url: &'a str) -> Fetched<'a>;
}

impl<F: Fetch> AnyFetch for F {
    fn get<'a>(&'a self, url: &'a str) -> Fetched<'a> {
        Box::pin(Fetch::get(self, url))
    }
}
