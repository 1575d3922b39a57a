//! Opens a connection to the host of a URL: TCP or a proxy tunnel, then TLS. The connector also checks that the server
//! requested the certificate.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use certbound_core::phase::Phase;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::blocking;
use crate::error::Error;
use crate::failure::{no_common_scheme, not_connected, tls};
use crate::identity::{Asked, Handshakes, watching};
use crate::options::Options;
use crate::proxy::address;
use crate::stream::{Stream, TlsFacts, is_ended_by_server, is_sudden};
use crate::tunnel;

/// Connects with one identity. The HTTP library clones the connector for each request, so a clone must be cheap.
#[derive(Clone)]
pub(crate) struct Connector(pub(crate) Arc<Settings>);

pub(crate) struct Settings {
    pub(crate) handshakes: Handshakes,
    pub(crate) options: Options,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let settings = Arc::clone(&self.0);
        Box::pin(async move {
            let limit = settings.options.limits.connect;
            let connected = tokio::time::timeout(limit, settings.connect(&target)).await;
            connected.unwrap_or_else(|_| {
                Err(Error::TimedOut { phase: Phase::Connect, limit, proxy: settings.proxy_of(&target) })
            })
        })
    }
}

impl Settings {
    /// Returns the host and port of the proxy that requests to `target` use.
    pub(crate) fn proxy_of(&self, target: &Uri) -> Option<String> {
        self.options.proxy.address_for(target).filter(|_| self.options.address.is_none())
    }

    async fn connect(&self, target: &Uri) -> Result<Stream, Error> {
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
        let tcp = reach(&self.options, target, host).await?;
        if target.scheme_str() == Some("http") {
            return Ok(Stream::new(tcp, TlsFacts::default()));
        }
        let (stream, presented) = self.handshake(tcp, host).await?;
        let connection = stream.get_ref().1;
        let facts = TlsFacts {
            presented,
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            http2: connection.alpn_protocol() == Some(b"h2"),
        };
        Ok(Stream::new(stream, facts))
    }

    /// Performs the TLS handshake and returns whether our certificate was presented. If the identity has a certificate
    /// and the server does not request it, the result is an error.
    async fn handshake(&self, tcp: TcpStream, host: &str) -> Result<(TlsStream<TcpStream>, bool), Error> {
        let Handshakes { config, presents, signs_slowly, .. } = &self.handshakes;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::NotHttps)?;
        let connect = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
        let (stream, asked) = match signs_slowly {
            false => watching(connect).await,
            true => blocking::run(watching(connect)).await.ok_or_else(|| Error::Interrupted {
                reason: "the thread of the TLS handshake ended".into(),
            })?,
        };
        if !presents {
            return stream.map(|stream| (stream, false)).map_err(tls);
        }
        let has_no_scheme = asked == Some(Asked::WithoutScheme);
        let presented = asked == Some(Asked::Presented);
        let kind = stream.as_ref().ok().and_then(|stream| stream.get_ref().1.handshake_kind());
        // A failed handshake is recorded too if the certificate was presented: the session may be resumed later.
        let is_known = (stream.is_ok() || presented) && self.handshakes.knows(host, presented, kind);
        match stream {
            Ok(stream) if is_known => Ok((stream, true)),
            Ok(_) if has_no_scheme => Err(no_common_scheme()),
            Ok(_) => Err(Error::CertificateNotRequested),
            Err(error) if presented && is_sudden(&error) => {
                Err(Error::EndedAfterCertificate { reason: error.into() })
            }
            Err(error) if has_no_scheme && is_ended_by_server(&error) => Err(no_common_scheme()),
            Err(error) => Err(tls(error)),
        }
    }
}

/// Opens a TCP connection to the host of `target`, or a tunnel through the proxy. The caller performs the TLS
/// handshake. The limit [`Limits::connect`](crate::Limits::connect) does not apply.
///
/// # Errors
/// [`Error`], if the host or the proxy cannot be reached.
pub async fn dial(options: &Options, target: &Uri) -> Result<TcpStream, Error> {
    let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
    reach(options, target, host).await
}

async fn reach(options: &Options, target: &Uri, host: &str) -> Result<TcpStream, Error> {
    if let Some(address) = options.address {
        let connected = TcpStream::connect(address).await;
        return connected.map_err(|error| Error::Connect { reason: error.into() });
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(options.tcp_limit);
    let stream = match options.proxy.intercept(target, host) {
        None => {
            let port = target.port_u16().unwrap_or(default_port(target));
            let connected = tcp.call(target.clone()).await;
            connected.map_err(|error| Error::Connect { reason: not_connected(error, port) })?.into_inner()
        }
        Some(proxy) if proxy.uri().scheme_str() == Some("http") => {
            let port = proxy.uri().port_u16().unwrap_or(80);
            let address = address(proxy.uri());
            let connected = tcp.call(proxy.uri().clone()).await.map_err(|error| Error::Proxy {
                proxy: address.clone(),
                reason: not_connected(error, port),
            })?;
            tunnel::open(connected.into_inner(), target, proxy.basic_auth(), &address).await?
        }
        Some(_) => return Err(Error::ProxyKind),
    };
    Ok(stream)
}

fn default_port(target: &Uri) -> u16 {
    if target.scheme_str() == Some("http") { 80 } else { 443 }
}
