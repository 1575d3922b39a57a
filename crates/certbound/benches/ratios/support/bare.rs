//! The floor: the same requests by hyper and rustls alone.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::server::Server;
use super::{HOST, PATH};

/// Uses one connection at a time, and opens a new one after the service closed it.
pub(crate) struct Bare {
    proxy: SocketAddr,
    tls: TlsConnector,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Bare {
    pub(crate) fn new(server: &Server) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(server.root_pem.as_bytes()).unwrap()).unwrap();
        let certificate = CertificateDer::from_pem_slice(server.client_pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(server.client_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self::over(server.address, config)
    }

    /// Connects through a proxy, with this TLS configuration.
    pub(crate) fn over(proxy: SocketAddr, config: ClientConfig) -> Self {
        Self { proxy, tls: TlsConnector::from(Arc::new(config)), connection: None }
    }

    /// Sends a form with the client's headers, and reads the whole answer.
    pub(crate) async fn post(&mut self, form: Bytes) -> Bytes {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await,
        };
        let request = Request::post(PATH)
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-client-sku", "certbound")
            .header("x-client-ver", "0.1.0")
            .header("x-client-os", "Linux")
            .header("client-request-id", "00000000-0000-4000-8000-000000000000")
            .header("return-client-request-id", "true")
            .header("x-client-current-telemetry", "5|1004,2,westus3,,6|0,1,6,,,")
            .header("x-ms-lib-capability", "retry-after, h429")
            .header("host", HOST)
            .body(Full::new(form))
            .unwrap();
        connection.ready().await.unwrap();
        let response = connection.send_request(request).await.unwrap();
        let closing = response.headers().contains_key("connection");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        self.connection = Some(connection).filter(|_| !closing);
        body
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let mut tcp = TcpStream::connect(self.proxy).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.write_all(format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(tcp.read_buf(&mut head).await.unwrap(), 0);
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "));
        let stream = self.tls.connect(ServerName::try_from(HOST).unwrap(), tcp).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}
