//! A transport that answers with the result of a function and records each request.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use certbound::Transport;
use certbound::error::TransportError;
use certbound::transport::{Answer, TlsFacts, Via};

/// A transport that answers with the result of a function, and records every request.
#[derive(Clone)]
pub struct AnsweringTransport {
    answer: Arc<AnswerFn>,
    seen: Arc<Mutex<Vec<Seen>>>,
    header: Option<(&'static str, &'static str)>,
}

type AnswerFn = dyn Fn(&Seen) -> (u16, String) + Send + Sync;

/// A request that the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET` or `POST`.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// The headers, by name in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
    /// Whether TLS would present a certificate.
    pub certificate: bool,
    /// The required thumbprint of the server's certificate, as text. It is empty if the server is not pinned.
    pub pinned: String,
}

impl Seen {
    /// Returns the value of a header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Returns a parameter of the body, still encoded, or an empty text.
    pub fn parameter(&self, name: &str) -> &str {
        let mut pairs = self.body.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

impl AnsweringTransport {
    /// Creates a transport that answers with the status and the body from `answer`.
    pub fn new(answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), seen: Arc::default(), header: None }
    }

    /// Creates a transport that answers every request with an opaque token of the requested type. The token expires in
    /// one hour.
    pub fn with_tokens() -> Self {
        Self::new(|seen| {
            let kind = if seen.parameter("token_type") == "mtls_pop" { "mtls_pop" } else { "Bearer" };
            (200, format!(r#"{{"token_type":"{kind}","access_token":"T","expires_in":3600}}"#))
        })
    }

    /// Adds this header to every answer.
    pub fn with_header(self, name: &'static str, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// Returns all recorded requests.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes and returns the only recorded request. Panics if there is not exactly one request.
    pub fn only(&self) -> Seen {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

impl Transport for AnsweringTransport {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value)));
        let seen = Seen {
            method: request.method().to_string(),
            url: request.uri().to_string(),
            headers: headers.collect(),
            body: String::from_utf8_lossy(request.body()).into_owned(),
            certificate: via.binding().is_some(),
            pinned: match via {
                Via::Pinned(pin) => pin.to_string(),
                _ => String::new(),
            },
        };
        // Yields once to the scheduler, so that simultaneous calls overlap as on a network.
        tokio::task::yield_now().await;
        let (status, body) = (self.answer)(&seen);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        let mut response = http::Response::new(Bytes::from(body));
        *response.status_mut() = http::StatusCode::from_u16(status).expect("a status from 100 to 999");
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, http::HeaderValue::from_static(value));
        }
        Ok(Answer { response, tls: TlsFacts::default() })
    }
}
