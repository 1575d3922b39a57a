//! The parts of a network configuration that do not depend on the TLS library, for a transport with a different TLS
//! library.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::phase::Phase;
use certbound_https as https;
use certbound_https::Options;
use tokio::net::TcpStream;

use super::hyper::explain;
use crate::error::TransportError;

/// Opens the connections of a [`Network`](super::Network) and applies its limits. The caller performs TLS and HTTP.
#[derive(Clone)]
pub struct Dialer {
    options: Options,
    roots: Option<Arc<[u8]>>,
}

impl Dialer {
    pub(super) fn new(options: Options, roots: Option<Arc<[u8]>>) -> Self {
        Self { options, roots }
    }

    /// Returns the only trusted roots, in PEM. `None` means the trust store of the system.
    pub fn only_roots_pem(&self) -> Option<&[u8]> {
        self.roots.as_deref()
    }

    /// Returns the largest accepted length of an answer's head, in bytes.
    pub fn head_limit(&self) -> usize {
        self.options.limits.head
    }

    /// Opens a TCP connection to the host of `url`, or a tunnel through the proxy.
    ///
    /// # Errors
    /// [`TransportError`], if the host or the proxy cannot be reached. This function has no time limit. To limit the
    /// time, call it within [`Dialer::in_time_to_connect`].
    pub async fn dial(&self, url: &http::Uri) -> Result<TcpStream, TransportError> {
        let host = url.host().unwrap_or_default().to_owned();
        https::dial(&self.options, url).await.map_err(|error| explain(host, error))
    }

    /// Reads the whole body of an answer.
    ///
    /// # Errors
    /// [`TransportError::TooLarge`], if the body exceeds the limit, and [`TransportError::Interrupted`], if the
    /// connection ends too early.
    pub async fn whole<B>(&self, host: &str, body: B) -> Result<Bytes, TransportError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let limit = self.options.limits.body;
        https::whole(body, limit).await.map_err(|error| explain(host.to_owned(), error))
    }

    /// Runs `connecting` within the time limit of a connection.
    ///
    /// # Errors
    /// [`TransportError::TimedOut`], and the errors of `connecting`.
    pub async fn in_time_to_connect<T>(
        &self,
        url: &http::Uri,
        connecting: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        self.in_time(url, (Phase::Connect, self.options.limits.connect), connecting).await
    }

    /// Runs `exchange` within the time limit of a whole exchange.
    ///
    /// # Errors
    /// [`TransportError::TimedOut`], and the errors of `exchange`.
    pub async fn in_time_to_exchange<T>(
        &self,
        url: &http::Uri,
        exchange: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        self.in_time(url, (Phase::Exchange, self.options.limits.exchange), exchange).await
    }

    async fn in_time<T>(
        &self,
        url: &http::Uri,
        (phase, limit): (Phase, Duration),
        work: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let host = url.host().unwrap_or_default().to_owned();
            Err(TransportError::TimedOut { host, phase, limit, proxy: self.options.proxy.address_for(url) })
        })
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("options", &self.options).finish_non_exhaustive()
    }
}
