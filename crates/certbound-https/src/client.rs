//! Sends one request and reads one answer, over pooled connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::cause::Cause;
use certbound_core::phase::Phase;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::body::whole;
use crate::connector::{Connector, Settings};
use crate::error::Error;
use crate::identity::Identity;
use crate::options::{Limits, Options};
use crate::stream::{Shown, TlsFacts, recording};

/// The client closes an idle connection after this time. Services close idle connections after two minutes or more.
const IDLE: Duration = Duration::from_secs(90);
/// The interval of pings on an HTTP/2 connection with open requests, and the time that a ping may take.
const PING: Duration = Duration::from_secs(10);
/// The maximum number of idle connections to one host.
const MAX_IDLE: usize = 64;

/// Sends requests to any host with one TLS identity. A clone is cheap and shares the connections.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    settings: Arc<Settings>,
}

/// An answer and the facts of its connection's TLS handshake.
#[derive(Debug)]
pub struct Answer {
    /// Status, headers and the whole body.
    pub response: Response<Bytes>,
    /// The facts of the TLS handshake.
    pub tls: TlsFacts,
}

impl Client {
    /// Creates a client with `identity`.
    pub fn new(identity: Identity, options: Options) -> Self {
        let settings = Arc::new(Settings { handshakes: identity.into_handshakes(), options });
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(if settings.options.without_pool { 0 } else { MAX_IDLE })
            .http1_max_buf_size(settings.options.limits.head)
            .http2_max_header_list_size(u32::try_from(settings.options.limits.head).unwrap_or(u32::MAX))
            // Many requests share an HTTP/2 connection. The pings detect a server that no longer answers.
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .build(Connector(Arc::clone(&settings)));
        Self { http, settings }
    }

    /// Sends `request` to the host of its URL.
    ///
    /// # Errors
    /// [`Error`] if there is no complete answer.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Answer, Error> {
        let limit = self.limits().exchange;
        let target = request.uri().clone();
        let exchange = tokio::time::timeout(limit, self.exchange(request)).await;
        exchange.unwrap_or_else(|_| {
            let proxy = self.settings.proxy_of(&target);
            Err(Error::TimedOut { phase: Phase::Exchange, limit, proxy })
        })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Answer, Error> {
        let mut request = request.map(Full::new);
        let scheme = request.uri().scheme_str();
        let fits = scheme == Some("https") || (self.settings.options.plain_http && scheme == Some("http"));
        if !fits || request.uri().host().is_none_or(str::is_empty) {
            return Err(Error::NotHttps);
        }
        // The TLS handshake of the connection determines whether HTTP/1.1 or HTTP/2 is used.
        *request.version_mut() = Version::HTTP_11;
        let (response, opened) = recording(self.http.request(request)).await;
        let mut response = response.map_err(|error| self.explain(error, opened))?;
        let shown = response.extensions_mut().remove::<Shown>().unwrap_or_default();
        Ok(Answer { response: self.read(response).await?, tls: shown.facts })
    }

    /// Reads the whole answer.
    async fn read(&self, response: Response<Incoming>) -> Result<Response<Bytes>, Error> {
        let (head, body) = response.into_parts();
        // The HTTP library limits only its buffer, which may contain a little more than the limit. So this method
        // checks the limit.
        if bytes_of(&head.headers) > self.limits().head {
            return Err(Error::TooLarge { limit: self.limits().head });
        }
        let body = match self.settings.options.bodies_of_ok_only && head.status != StatusCode::OK {
            true => Bytes::new(),
            false => whole(body, self.limits().body).await?,
        };
        Ok(Response::from_parts(head, body))
    }

    /// Converts an error of the HTTP client. `opened` has the facts of the connection that the request opened last.
    fn explain(&self, error: legacy::Error, opened: Option<Shown>) -> Error {
        let cause = std::error::Error::source(&error).unwrap_or(&error);
        if let Some(ours) = Error::within(cause) {
            return ours.clone();
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return Error::TooLarge { limit: self.limits().head };
        }
        let shown = match error.connect_info() {
            Some(connection) => {
                let mut shown = http::Extensions::new();
                connection.get_extras(&mut shown);
                shown.remove()
            }
            None => opened,
        };
        let ended = shown.as_ref().and_then(Shown::ended);
        ended.unwrap_or_else(|| Error::Interrupted { reason: Cause::new(NoAnswer(error)) })
    }

    fn limits(&self) -> &Limits {
        &self.settings.options.limits
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.settings.options).finish_non_exhaustive()
    }
}

fn bytes_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// The HTTP client's error without its text. The text of the error's source is more exact.
#[derive(Debug)]
struct NoAnswer(legacy::Error);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::error::Error::source(&self.0) {
            Some(source) => fmt::Display::fmt(source, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl std::error::Error for NoAnswer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0)
    }
}
