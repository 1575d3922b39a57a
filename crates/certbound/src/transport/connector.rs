//! From a URI to a TLS connection: TCP or proxy tunnel, handshake, and the check that the certificate was asked for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use certbound_core::local::is_local;
use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::TlsFacts;
use super::error::{Phase, TransportError};
use super::pinned::NotPinned;
use super::tls::{self, TlsIdentity};

/// Connects with one TLS identity.
#[derive(Clone)]
pub(super) struct Connector {
    identity: TlsIdentity,
    proxy: Arc<Matcher>,
    limit: Duration,
    /// For TCP alone, where that has one.
    tcp_limit: Option<Duration>,
}

impl Service<Uri> for Connector {
    type Response = FactStream;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TransportError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let host = target.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let limit = connector.limit;
            match tokio::time::timeout(limit, connector.connect(&target, &host)).await {
                Ok(result) => result,
                Err(_) => Err(TransportError::TimedOut { host, phase: Phase::Connect, limit }),
            }
        })
    }
}

impl Connector {
    /// Connects with `identity`, through what `proxy` says, within `limit` in all.
    pub(super) fn new(identity: TlsIdentity, proxy: &Arc<Matcher>, limit: Duration) -> Self {
        Self { identity, proxy: Arc::clone(proxy), limit, tcp_limit: None }
    }

    /// Bounds TCP alone.
    pub(super) fn within(self, tcp_limit: Duration) -> Self {
        Self { tcp_limit: Some(tcp_limit), ..self }
    }

    async fn connect(&self, target: &Uri, host: &str) -> Result<FactStream, TransportError> {
        let tcp = self.reach(target, host).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TransportError::NotHttps)?;
        let connect = tokio_rustls::TlsConnector::from(Arc::clone(&self.identity.config)).connect(name, tcp);
        let (stream, asked) = tls::watching(connect).await;
        let sent_certificate = asked && self.identity.presents.is_some();
        if sent_certificate && stream.is_err() {
            // A session may be kept of it all the same, and be resumed.
            self.identity.was_asked(host, asked, None);
        }
        let stream = stream.map_err(|error| match sent_certificate && is_sudden(&error) {
            true => {
                TransportError::EndedAfterCertificate { host: host.to_owned(), reason: error.to_string() }
            }
            false => tls_failure(host, &error),
        })?;
        let kind = stream.get_ref().1.handshake_kind();
        let mut facts =
            TlsFacts { resumed: kind == Some(rustls::HandshakeKind::Resumed), ..TlsFacts::default() };
        if let Some(thumbprint) = self.identity.presents {
            if !self.identity.was_asked(host, asked, kind) {
                return Err(TransportError::CertificateNotRequested { host: host.to_owned() });
            }
            facts.certificate_requested = true;
            facts.presented = Some(thumbprint);
        }
        let fresh = self.identity.presents.is_some().then(|| host.into());
        Ok(FactStream { stream: TokioIo::new(stream), facts, fresh, ended: Ended::default() })
    }

    async fn reach(&self, target: &Uri, host: &str) -> Result<TcpStream, TransportError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(self.tcp_limit);
        let stream = match self.proxy.intercept(target).filter(|_| !is_local(host)) {
            None => tcp
                .call(target.clone())
                .await
                .map_err(|error| TransportError::Connect { host: host.to_owned(), reason: chain(&error) })?,
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                tunnel
                    .call(with_port(target))
                    .await
                    .map_err(|error| TransportError::Proxy { host: host.to_owned(), reason: chain(&error) })?
            }
        };
        Ok(stream.into_inner())
    }
}

/// CONNECT names a port, also the default one.
fn with_port(target: &Uri) -> Uri {
    let Some(host) = target.host() else { return target.clone() };
    let authority = format!("{host}:{}", target.port_u16().unwrap_or(443));
    Uri::builder()
        .scheme("https")
        .authority(authority)
        .path_and_query("/")
        .build()
        .unwrap_or_else(|_| target.clone())
}

fn tls_failure(host: &str, error: &io::Error) -> TransportError {
    let (host, cause) = (host.to_owned(), error.get_ref());
    if let Some(NotPinned { pinned, presented }) = cause.and_then(NotPinned::beneath) {
        return TransportError::ServerNotPinned { host, pinned, presented };
    }
    let reason = cause.map_or_else(|| error.to_string(), ToString::to_string);
    TransportError::Tls { host, reason }
}

/// Whether it is how a server ends a connection without a reason: a reset, or the alert that gives none. What we refuse
/// about the server is neither.
fn is_sudden(error: &io::Error) -> bool {
    use rustls::{AlertDescription, Error};

    let alert = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    matches!(alert, Some(Error::AlertReceived(AlertDescription::HandshakeFailure)))
        || matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
        )
}

/// An error with all its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// A TLS connection that remembers what its handshake showed.
pub(super) struct FactStream {
    stream: TokioIo<TlsStream<TcpStream>>,
    facts: TlsFacts,
    /// The host, while nothing came since our certificate was sent: by TLS 1.3 the server looks at that afterwards.
    fresh: Option<Box<str>>,
    ended: Ended,
}

/// What ended a connection before anything came on it, kept with the connection: where that happens before the request is
/// handed over, the HTTP library says no more than that there is no connection.
#[derive(Clone, Default)]
pub(super) struct Ended(Arc<OnceLock<TransportError>>);

impl Ended {
    pub(super) fn of(connection: &Connected) -> Option<TransportError> {
        let mut extras = http::Extensions::new();
        connection.get_extras(&mut extras);
        extras.get::<Self>()?.0.get().cloned()
    }
}

impl FactStream {
    fn explain<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        result.map_err(|error| {
            let Some(host) = &self.fresh else { return error };
            let (host, reason) = (host.to_string(), error.to_string());
            let ended = match is_sudden(&error) {
                true => TransportError::EndedAfterCertificate { host, reason },
                false => TransportError::Interrupted { host, reason },
            };
            io::Error::other(self.ended.0.get_or_init(|| ended).clone())
        })
    }
}

impl Connection for FactStream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.facts).extra(self.ended.clone())
    }
}

impl hyper::rt::Read for FactStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.fresh = None;
        }
        self.explain(result)
    }
}

impl hyper::rt::Write for FactStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.explain(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.explain(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
