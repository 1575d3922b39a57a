//! One connection: a request without a token, on which the server renegotiates, and then the request with the token.

use std::pin::pin;

use bytes::Bytes;
use certbound::error::{KeyError, TlsAlert, TransportError, Untrusted};
use certbound::transport::Dialer;
use certbound_core::cause::Cause;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;

use crate::stream::{NotPresented, Presented, Stream, Watch};

/// The header with which a client asks Key Vault to request the certificate.
const OPT_IN: HeaderName = HeaderName::from_static("x-ms-tokenboundauth");
/// The smallest buffer that hyper accepts.
const LEAST_HEAD: usize = 8 * 1024;

/// Sends `request` on `stream` and returns the whole answer. The connection is closed afterwards.
pub(crate) async fn run(
    dialer: &Dialer,
    host: &str,
    stream: Stream,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, TransportError> {
    let watch = stream.watch();
    let talk = Talk { dialer, host, watch: &watch };
    let mut http = Builder::new();
    http.max_buf_size(dialer.head_limit().max(LEAST_HEAD));
    let opened = http.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|error| talk.explain(error))?;
    let (mut answer, mut connection) = (pin!(talk.both(sender, request)), Box::pin(connection));
    let answered = tokio::select! {
        biased;
        answered = &mut answer => Some(answered),
        _ = &mut connection => None,
    };
    match answered {
        Some(answered) => answered,
        None => {
            // The connection has ended. The sender gets an error when the connection is dropped. The sender still reads
            // the data that arrived before.
            drop(connection);
            answer.await
        }
    }
}

/// The two requests of one connection.
struct Talk<'a> {
    dialer: &'a Dialer,
    host: &'a str,
    watch: &'a Watch,
}

impl Talk<'_> {
    async fn both(
        &self,
        mut sender: SendRequest<Full<Bytes>>,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, TransportError> {
        let request = for_connection(request)?;
        let presented = match self.watch.verdict() {
            // The first handshake presented the certificate.
            Some(verdict) => verdict,
            None => {
                self.send(&mut sender, without_token(&request)).await?;
                self.watch.verdict().unwrap_or(Err(NotPresented::NoRenegotiation))
            }
        };
        // This method returns the verdict even if the server has closed the connection.
        let presented = presented.map_err(|reason| self.not_presented(reason))?;
        sender.ready().await.map_err(|error| self.explain(error))?;
        self.send_with_token(presented, &mut sender, request).await
    }

    /// Sends the request with the token. `_presented` is the proof that the server requested the certificate and got
    /// it.
    async fn send_with_token(
        &self,
        _presented: Presented,
        sender: &mut SendRequest<Full<Bytes>>,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, TransportError> {
        self.send(sender, request).await
    }

    /// Sends one request and reads its whole answer.
    async fn send(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, TransportError> {
        self.watch.asks();
        let answer = sender.send_request(request.map(Full::new)).await;
        let (head, body) = answer.map_err(|error| self.explain(error))?.into_parts();
        let limit = self.dialer.head_limit();
        let length: usize =
            head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if length > limit {
            return Err(TransportError::TooLarge { host: self.host.to_owned(), limit });
        }
        match self.dialer.whole(self.host, body).await {
            Ok(body) => Ok(Response::from_parts(head, body)),
            Err(error) => Err(self.renegotiated().unwrap_or(error)),
        }
    }

    fn not_presented(&self, reason: NotPresented) -> TransportError {
        let reason = match reason {
            NotPresented::NoSignature => {
                Cause::new(KeyError::new(reason).with_fix("use a certificate with an RSA key or a P-256 key"))
            }
            _ => Cause::new(reason),
        };
        TransportError::CertificateNotRequestedLate { host: self.host.to_owned(), reason }
    }

    /// Returns the error of a renegotiation that ended the connection.
    fn renegotiated(&self) -> Option<TransportError> {
        let reason = Cause::new(self.watch.unexpected()?);
        Some(TransportError::Renegotiated { host: self.host.to_owned(), reason })
    }

    fn explain(&self, error: hyper::Error) -> TransportError {
        if let Some(error) = self.renegotiated() {
            return error;
        }
        let host = self.host.to_owned();
        if error.is_parse_too_large() {
            return TransportError::TooLarge { host, limit: self.dialer.head_limit() };
        }
        let reason = Cause::new(error);
        let reason = match reason.find::<TlsAlert>() {
            Some(alert) => Cause::new(*alert),
            None => reason,
        };
        if let Some(untrusted) = reason.find::<Untrusted>() {
            return TransportError::Tls { host, reason: Cause::new(untrusted.clone()) };
        }
        match self.watch.may_be_rejected() {
            true => TransportError::EndedAfterCertificate { host, reason },
            false => TransportError::Interrupted { host, reason },
        }
    }
}

/// Returns the request with the form that HTTP/1.1 requires: the path and the query as its target, and the header
/// `Host`.
fn for_connection(mut request: Request<Bytes>) -> Result<Request<Bytes>, TransportError> {
    let uri = request.uri();
    let host = uri.host().ok_or(TransportError::NotHttps)?;
    let host = match uri.port_u16() {
        None | Some(443) => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    };
    let host = HeaderValue::try_from(host).map_err(|_| TransportError::NotHttps)?;
    let target = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    request.headers_mut().insert(HOST, host);
    *request.uri_mut() = Uri::from(target);
    Ok(request)
}

/// Returns the first request: the same target, the opt-in, and nothing else of `request`. It has no token, no header of
/// the caller and no body, and its method changes nothing at the server.
fn without_token(request: &Request<Bytes>) -> Request<Bytes> {
    let mut first = Request::new(Bytes::new());
    *first.method_mut() = Method::GET;
    *first.uri_mut() = request.uri().clone();
    first.headers_mut().extend(request.headers().get(HOST).map(|host| (HOST, host.clone())));
    first.headers_mut().insert(OPT_IN, HeaderValue::from_static("true"));
    first
}
