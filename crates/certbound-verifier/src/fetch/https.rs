//! A small HTTPS client. It opens one connection for each document, since it fetches about two in an hour.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use certbound_core::local::is_local;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

use super::{Fetch, FetchError};
use crate::issuer::KeySet;

/// The time limit of a document, including the connection.
const LIMIT: Duration = Duration::from_secs(10);

/// Fetches over HTTPS with the system's trust store and with the proxy of `HTTPS_PROXY` and `NO_PROXY`. On Linux,
/// `SSL_CERT_FILE` can name the trust store.
///
/// It follows no redirects and uses HTTP/1.1. A document may take 10 s and have 512 KiB.
#[derive(Clone, Debug)]
pub struct HttpsFetch {
    proxy: Arc<Matcher>,
    tls: Arc<OnceLock<Result<Arc<rustls::ClientConfig>, FetchError>>>,
}

impl HttpsFetch {
    /// Reads the proxy from the environment. The trust store is read with the first document.
    pub fn new() -> Self {
        Self { proxy: Arc::new(Matcher::from_env()), tls: Arc::default() }
    }

    async fn document(&self, url: &http::Uri, host: &str) -> Result<Vec<u8>, FetchError> {
        let stream = self.connect(url, host).await?;
        let config = self.tls.get_or_init(tls_config).clone()?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| FetchError::NotHttps)?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        let stream = stream.map_err(|error| FetchError::Tls { reason: error.to_string() })?;
        let protocol = |error: hyper::Error| FetchError::Protocol { reason: error.to_string() };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(protocol)?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let authority = url.authority().map_or(host, |authority| authority.as_str());
        let request = http::Request::get(path)
            .header(http::header::HOST, authority)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_| FetchError::NotHttps)?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(protocol)?;
            if answer.status() != http::StatusCode::OK {
                return Err(FetchError::Status { status: answer.status().as_u16() });
            }
            let body = Limited::new(answer.into_body(), KeySet::MAX_BYTES).collect().await;
            body.map(|body| body.to_bytes().to_vec()).map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    FetchError::TooLarge { limit: KeySet::MAX_BYTES }
                } else {
                    FetchError::Protocol { reason: error.to_string() }
                }
            })
        };
        // The connection must be polled while the response is awaited. It is dropped with the response.
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            result = &mut exchange => result,
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(protocol(error)),
            },
        }
    }

    async fn connect(&self, url: &http::Uri, host: &str) -> Result<TcpStream, FetchError> {
        let connect = |reason: String| FetchError::Connect { reason };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let stream = match self.proxy.intercept(url).filter(|_| !is_local(host.trim_matches(['[', ']']))) {
            None => tcp.call(url.clone()).await.map_err(|error| connect(error.to_string()))?,
            Some(proxy) if proxy.uri().scheme_str() == Some("http") => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                let called = tunnel.call(with_port(url)).await;
                called.map_err(|error| connect(format!("through the proxy: {error}")))?
            }
            Some(_) => return Err(connect("the proxy of the environment is not an http:// one".to_owned())),
        };
        Ok(stream.into_inner())
    }
}

impl Default for HttpsFetch {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetch for HttpsFetch {
    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let url: http::Uri = url.parse().map_err(|_| FetchError::NotHttps)?;
        let host = url.host().filter(|_| url.scheme_str() == Some("https")).ok_or(FetchError::NotHttps)?;
        let timeout = || FetchError::Timeout { seconds: LIMIT.as_secs() };
        tokio::time::timeout(LIMIT, self.document(&url, host)).await.map_err(|_| timeout())?
    }
}

/// Adds the port 443 to a URL without a port: CONNECT always needs one.
fn with_port(url: &http::Uri) -> http::Uri {
    let (Some(host), None) = (url.host(), url.port()) else { return url.clone() };
    let authority = format!("{host}:443");
    let built = http::Uri::builder().scheme("https").authority(authority).path_and_query("/").build();
    built.unwrap_or_else(|_| url.clone())
}

fn tls_config() -> Result<Arc<rustls::ClientConfig>, FetchError> {
    let failed = |error: rustls::Error| FetchError::Tls { reason: error.to_string() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider)).map_err(failed)?;
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
