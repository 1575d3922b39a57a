//! From a URI to a TLS connection: TCP or proxy tunnel, handshake, and the check that the certificate was asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::local::is_local;
use certbound_core::shown::one_line;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tower_service::Service;

use super::TlsFacts;
use super::pinned::NotPinned;
use super::tls::{self, TlsIdentity};
use super::watched::{Ended, Watched, is_sudden};
use crate::error::{Phase, TransportError};

/// Connects with one TLS identity.
#[derive(Clone)]
pub(super) struct Connector {
    identity: TlsIdentity,
    proxy: Arc<Matcher>,
    limit: Duration,
    /// For TCP alone, where that has one.
    tcp_limit: Option<Duration>,
}

/// A connection, and what its handshake showed.
pub(super) struct Dialled {
    pub(super) stream: Watched,
    pub(super) facts: TlsFacts,
    pub(super) ended: Ended,
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

    /// Connects to the host of `target`, within the limit.
    pub(super) async fn dial(&self, target: &Uri) -> Result<Dialled, TransportError> {
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
        let limit = self.limit;
        match tokio::time::timeout(limit, self.connect(target, host)).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::TimedOut { host: host.to_owned(), phase: Phase::Connect, limit }),
        }
    }

    async fn connect(&self, target: &Uri, host: &str) -> Result<Dialled, TransportError> {
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
        let (stream, ended) = Watched::new(stream, self.identity.presents.is_some().then_some(host));
        Ok(Dialled { stream, facts, ended })
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
    // It may name what stands in the server's certificate.
    let reason = cause.map_or_else(|| error.to_string(), ToString::to_string);
    TransportError::Tls { host, reason: one_line(&reason).into_owned() }
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
    one_line(&text).into_owned()
}
