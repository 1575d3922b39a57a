//! Getting a document over HTTPS: metadata and keys, nothing else.

mod https;

use std::future::Future;
use std::pin::Pin;

pub use self::https::HttpsFetch;

/// Gets documents. Implement it to fetch metadata and keys by a client of one's own.
///
/// It must not follow redirects, must bound time and size, and must take `https` URLs only.
pub trait Fetch: Send + Sync + 'static {
    /// The body of a 200 answer to a GET.
    ///
    /// # Errors
    /// [`FetchError`] for anything else.
    fn get(&self, url: &str) -> impl Future<Output = Result<Vec<u8>, FetchError>> + Send;
}

/// Why a document could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Not an absolute `https` URL.
    #[error("it is not an absolute https URL")]
    NotHttps,
    /// Name, TCP or proxy.
    #[error("cannot connect: {reason}")]
    Connect {
        /// What failed.
        reason: String,
    },
    /// The TLS handshake, or the trust store.
    #[error("TLS failed: {reason}")]
    Tls {
        /// What failed.
        reason: String,
    },
    /// Not HTTP, or cut off.
    #[error("the answer is not usable: {reason}")]
    Protocol {
        /// What failed.
        reason: String,
    },
    /// Took too long.
    #[error("no answer within {seconds} s")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
    /// Any status but 200; redirects are not followed.
    #[error("it answered {status} instead of 200")]
    Status {
        /// The status.
        status: u16,
    },
    /// Larger than is read.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

impl FetchError {
    /// Whether the server said that there is no such document.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Status { status: 404 | 410 })
    }
}

/// The object-safe twin of [`Fetch`].
pub(crate) trait AnyFetch: Send + Sync {
    fn get<'a>(
        &'a self,
        url: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send + 'a>>;
}

impl<F: Fetch> AnyFetch for F {
    fn get<'a>(
        &'a self,
        url: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send + 'a>> {
        Box::pin(Fetch::get(self, url))
    }
}
