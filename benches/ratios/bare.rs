//! The baseline of requests: hyper and rustls alone, with the headers of the client.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::RUNTIME;
use crate::ours::{APP, GRAPH, SECRET, SECRET_APP, TENANT, bundle, root_pem};

pub(crate) const FLOOR: &str = "hyper and rustls, bare";
pub(crate) const LOGIN: &str = "login.microsoftonline.com";
pub(crate) const MTLS: &str = "mtlsauth.microsoft.com";
const EXCHANGE: &str = "api://AzureADTokenExchange/.default";

static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&root_pem()).unwrap()).unwrap();
    Arc::new(roots)
});

/// Returns a certificate of the test data with its key.
pub(crate) fn certified(name: &str) -> CertifiedKey {
    let pem = bundle(name);
    let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
    let key = rustls::crypto::aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
    CertifiedKey::new(vec![CertificateDer::from_pem_slice(&pem).unwrap()], key)
}

/// A connection to one host.
pub(crate) struct Connection {
    host: &'static str,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Opens a TLS connection with a new TLS configuration. `own` is the client's certificate.
    pub(crate) async fn to(host: &'static str, own: Option<CertifiedKey>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(Arc::clone(&ROOTS));
        let mut config = match own {
            Some(own) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(host).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp(host, 443).await).await;
        Self::over(host, stream.unwrap()).await
    }

    /// Connects without TLS.
    pub(crate) async fn in_plain_text(host: &'static str) -> Self {
        Self::over(host, tcp(host, 80).await).await
    }

    async fn over(host: &'static str, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { host, sender }
    }

    /// Sends a form to the token endpoint, and returns the body of the answer.
    pub(crate) async fn token(&mut self, form: &Bytes) -> Bytes {
        let request = Request::post(format!("/{TENANT}/oauth2/v2.0/token"))
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-client-sku", "certbound")
            .header("x-client-ver", "0.1.0")
            .header("x-client-os", "Linux")
            .header("client-request-id", "00000000-0000-4000-8000-000000000000")
            .header("return-client-request-id", "true")
            .header("x-client-current-telemetry", "5|1004,2,,,|0,1,6,,,")
            .header("x-ms-lib-capability", "retry-after, h429");
        self.send(request, form.clone()).await.into_body()
    }

    pub(crate) async fn send(&mut self, request: http::request::Builder, body: Bytes) -> Response<Bytes> {
        let request = request.header("host", self.host).body(Full::new(body)).unwrap();
        self.sender.ready().await.unwrap();
        let (head, body) = self.sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert!(head.status.is_success(), "{}", String::from_utf8_lossy(&body));
        Response::from_parts(head, body)
    }
}

async fn tcp(host: &str, port: u16) -> TcpStream {
    let tcp = TcpStream::connect((host, port)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

pub(crate) fn secret_form() -> Bytes {
    form(&[("client_id", SECRET_APP), ("client_secret", SECRET), ("scope", GRAPH)])
}

/// Returns the form of the direct flow.
pub(crate) fn direct_form(client: &str, scope: &str) -> Bytes {
    form(&[("client_id", client), ("scope", scope), ("token_type", "mtls_pop")])
}

/// Returns the forms of both legs. Requests the assertion of the second form once.
pub(crate) fn forms_of_legs(own: &CertifiedKey) -> [Bytes; 2] {
    let leg1 = direct_form(APP, EXCHANGE);
    let answer = RUNTIME.block_on(async { Connection::to(MTLS, Some(own.clone())).await.token(&leg1).await });
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let leg2 = form(&[
        ("client_id", APP),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-pop"),
        ("client_assertion", answer["access_token"].as_str().unwrap()),
        ("scope", GRAPH),
        ("token_type", "mtls_pop"),
    ]);
    [leg1, leg2]
}

fn form(fields: &[(&str, &str)]) -> Bytes {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(fields).append_pair("grant_type", "client_credentials").append_pair("client_info", "2");
    form.finish().into()
}
