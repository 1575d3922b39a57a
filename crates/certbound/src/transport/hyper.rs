//! The default transport: HTTP/1.1 by hyper, with connections of its own for each TLS identity.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::managed_identity::ServerThumbprint;
use certbound_core::secret::SecretBytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;

use super::alarm::Alarm;
use super::connections::{Answering, Connection, Connections};
use super::connector::{Connector, chain};
use super::pools::{Pools, Use};
use super::tls::{ServerTrust, TlsIdentity};
use super::{Answer, TlsFacts, Transport, Via};
use crate::certificate::Binding;
use crate::error::{NetworkError, Phase, TransportError};
use crate::transport::Limits;

type Pool = Connections;

/// Real HTTPS over TCP.
///
/// Every binding certificate has TLS configurations and connection pools of its own, made once and never changed: a
/// certificate swapped under a live pool would go on sending the old one. They are kept, by the whole chain, for the most
/// recently used bindings, at most [`HyperTransport::MAX_BINDINGS`], and end with the last handle on the binding.
pub struct HyperTransport {
    trust: ServerTrust,
    proxy: Arc<Matcher>,
    limits: Limits,
    plain: Arc<Pool>,
    pools: Pools<Pool>,
    local: Client<HttpConnector, Full<Bytes>>,
    local_tls: Arc<Pool>,
}

impl HyperTransport {
    /// How many bindings keep their connections.
    pub const MAX_BINDINGS: usize = 512;

    pub(crate) fn new(
        proxy: Matcher,
        roots: Option<RootCertStore>,
        limits: Limits,
    ) -> Result<Self, NetworkError> {
        let trust = ServerTrust::new(roots)?;
        let proxy = Arc::new(proxy);
        let identity = TlsIdentity::new(&trust, None, true)
            .map_err(|error| NetworkError::TrustStore { reason: error.to_string() })?;
        let plain = Connector::new(identity.clone(), &proxy, limits.connect);
        // No proxy stands between a program and its platform.
        let local_tls = Connector::new(identity, &no_proxy(), limits.connect).within(local_connect(limits));
        let [plain, local_tls] = [plain, local_tls].map(|it| Arc::new(Pool::new(it, limits.head)));
        let pools = Pools::new(2 * Self::MAX_BINDINGS);
        Ok(Self { trust, proxy, limits, plain, pools, local: local(limits), local_tls })
    }

    fn pool_for(&self, via: Via<'_>, host: &str) -> Result<Arc<Pool>, TransportError> {
        let pool = match via {
            Via::Tls => return Ok(Arc::clone(&self.plain)),
            // Plain HTTP has a pool of its own.
            Via::Local => return Ok(Arc::clone(&self.local_tls)),
            Via::Bound(binding) => self.pool_of_binding(binding, Use::Token),
            Via::Resource(binding) => self.pool_of_binding(binding, Use::Resource),
            Via::Pinned(pin) => self.pools.of_pin(*pin, || self.new_pinned(*pin)),
        };
        pool.map_err(|error| TransportError::Tls { host: host.to_owned(), reason: error.to_string() })
    }

    fn pool_of_binding(&self, binding: &Binding, purpose: Use) -> Result<Arc<Pool>, rustls::Error> {
        self.pools.of_binding(binding, purpose, || {
            let identity = TlsIdentity::new(&self.trust, Some(binding), purpose == Use::Token)?;
            Ok(self.new_pool(identity, &self.proxy))
        })
    }

    /// No session takes the place of the certificate.
    fn new_pinned(&self, pin: ServerThumbprint) -> Result<Pool, rustls::Error> {
        let identity = TlsIdentity::new(&ServerTrust::Pinned(pin), None, false)?;
        Ok(self.new_pool(identity, &no_proxy()))
    }

    fn new_pool(&self, identity: TlsIdentity, proxy: &Arc<Matcher>) -> Pool {
        Pool::new(Connector::new(identity, proxy, self.limits.connect), self.limits.head)
    }

    /// By a platform's plain HTTP.
    async fn exchange_unencrypted(
        &self,
        request: http::Request<Full<Bytes>>,
        host: &str,
    ) -> Result<Answer, TransportError> {
        let response = self.local.request(request).await.map_err(|error| explain(host, &error))?;
        let response = self.read(host, response).await?;
        Ok(Answer { response, tls: TlsFacts::default() })
    }

    async fn exchange(
        &self,
        request: http::Request<Full<Bytes>>,
        pool: &Pool,
        kept: Option<Connection>,
        host: &str,
    ) -> Result<(Answering, http::Response<Bytes>), TransportError> {
        let (answering, response) = pool.send(request, kept).await?;
        Ok((answering, self.read(host, response).await?))
    }

    /// The whole body.
    async fn read(
        &self,
        host: &str,
        response: http::Response<Incoming>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let (head, body) = response.into_parts();
        // The HTTP library bounds its buffer, which may hold a little more than its limit: the limit itself is here.
        if head_bytes(&head.headers) > self.limits.head {
            return Err(TransportError::TooLarge { host: host.to_owned(), limit: self.limits.head });
        }
        // As much as it says, where it says it; a body that says too much is refused when it is longer.
        let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let room = announced.unwrap_or_default().min(self.limits.body).min(ROOM);
        let mut collected = SecretBytes::with_capacity(room);
        let mut body = std::pin::pin!(Limited::new(body, self.limits.body));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.explain_body(host, error.as_ref()))?;
            if let Some(data) = frame.data_ref() {
                grow(&mut collected, data.len());
                collected.extend_from_slice(data);
            }
        }
        Ok(http::Response::from_parts(head, Bytes::from_owner(collected)))
    }

    fn explain_body(
        &self,
        host: &str,
        error: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> TransportError {
        if error.is::<http_body_util::LengthLimitError>() {
            return TransportError::TooLarge { host: host.to_owned(), limit: self.limits.body };
        }
        TransportError::Interrupted { host: host.to_owned(), reason: chain(error) }
    }
}

impl Transport for HyperTransport {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let uri = request.uri();
        let fits = uri.scheme_str() == Some("https") || (matches!(via, Via::Local) && is_plain(uri));
        let host = uri.host().filter(|_| fits).ok_or(TransportError::NotHttps)?.to_owned();
        let limit = self.limits.exchange;
        let late = |host| TransportError::TimedOut { host, phase: Phase::Exchange, limit };
        let plain = is_plain(uri);
        let request = request.map(Full::new);
        if plain {
            let exchange = Box::pin(self.exchange_unencrypted(request, &host));
            let answer = Alarm::new().within(limit, exchange).await;
            return answer.unwrap_or_else(|| Err(late(host)));
        }
        let pool = self.pool_for(via, &host)?;
        let mut kept = pool.kept(request.uri());
        let mut alarm = kept.as_mut().and_then(Connection::take_alarm).unwrap_or_else(Alarm::new);
        let answer = {
            let exchange = pin!(self.exchange(request, &pool, kept, &host));
            alarm.within(limit, exchange).await
        };
        match answer {
            Some(Ok((answering, response))) => Ok(Answer { response, tls: answering.over(alarm) }),
            Some(Err(error)) => Err(error),
            None => Err(late(host)),
        }
    }
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport")
            .field("trust", &self.trust)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The most that is set aside for a body before it comes.
const ROOM: usize = 64 * 1024;

/// The longest that the platform's own service may take to be connected to: it is next door, or not there.
const LOCAL_CONNECT: Duration = Duration::from_secs(1);

fn local_connect(limits: Limits) -> Duration {
    limits.connect.min(LOCAL_CONNECT)
}

fn no_proxy() -> Arc<Matcher> {
    Arc::new(Matcher::builder().build())
}

fn is_plain(uri: &http::Uri) -> bool {
    uri.scheme_str() == Some("http")
}

fn local(limits: Limits) -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(local_connect(limits)));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http1_max_buf_size(limits.head)
        .build(connector)
}

fn head_bytes(headers: &http::HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Makes room by copying into a new buffer and wiping the old one; a plain `Vec` would leave it behind.
fn grow(buffer: &mut SecretBytes, more: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        let mut larger = SecretBytes::with_capacity((needed * 2).max(4096));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
}

fn explain(host: &str, error: &hyper_util::client::legacy::Error) -> TransportError {
    let (host, reason) = (host.to_owned(), chain(error));
    if error.is_connect() {
        return TransportError::Connect { host, reason };
    }
    TransportError::Interrupted { host, reason }
}

#[cfg(test)]
mod tests;
