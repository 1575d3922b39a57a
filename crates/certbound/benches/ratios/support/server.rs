//! A token service that answers at once and always with the same answer. The benchmark therefore measures only the
//! client.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use certbound::{BindingCertificate, Thumbprint};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{APP, HOST};

/// The life of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Open,
    /// The server closes the connection after two requests. Both legs share one handshake, and the next pair makes a
    /// new one.
    ForTwoRequests,
}

/// The credential of the client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Rsa,
    P256,
}

/// The service, behind a proxy port in a thread of its own, until the process ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The certificate authority that a client must trust.
    pub(crate) root_pem: String,
    pub(crate) certificate: BindingCertificate,
    pub(crate) client_pem: String,
    assertion: String,
}

impl Server {
    pub(crate) fn start(keep: Keep, key: Key) -> Self {
        let (host, host_key) = certified(HOST, Key::Rsa);
        let (client, client_key) = certified("client.example", key);
        let client_pem = format!("{}{}", client.pem(), client_key.serialize_pem());
        let certificate = BindingCertificate::from_pem(client_pem.as_bytes()).unwrap();
        let assertion = token(certificate.thumbprint());
        let answer = Bytes::from(format!(
            r#"{{"token_type":"mtls_pop","expires_in":3599,"ext_expires_in":3599,"access_token":"{assertion}"}}"#
        ));

        let tls = TlsAcceptor::from(Arc::new(tls(&host, &host_key, &client)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(listener, &tls, &answer, keep));
        Self { address, root_pem: host.pem(), certificate, client_pem, assertion }
    }

    /// Returns the form of Leg 1, with exactly as many bytes as the client's form.
    pub(crate) fn leg1_form(&self) -> Bytes {
        Bytes::from(format!(
            "client_id={APP}&scope=api%3A%2F%2FAzureADTokenExchange%2F.default&grant_type=client_credentials&client_info=2&token_type=mtls_pop"
        ))
    }

    /// Returns the form of Leg 2.
    pub(crate) fn leg2_form(&self) -> Bytes {
        Bytes::from(format!(
            "client_id={APP}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-pop&client_assertion={}&scope=https%3A%2F%2Fvault.azure.net%2F.default&grant_type=client_credentials&client_info=2&token_type=mtls_pop",
            self.assertion
        ))
    }

    /// Returns the form of the direct flow.
    pub(crate) fn direct_form(&self) -> Bytes {
        Bytes::from(format!(
            "client_id={APP}&scope=https%3A%2F%2Fvault.azure.net%2F.default&grant_type=client_credentials&client_info=2&token_type=mtls_pop"
        ))
    }
}

fn certified(name: &str, key: Key) -> (rcgen::Certificate, KeyPair) {
    let algorithm = match key {
        Key::Rsa => &PKCS_RSA_SHA256,
        Key::P256 => &PKCS_ECDSA_P256_SHA256,
    };
    let key = KeyPair::generate_for(algorithm).unwrap();
    (CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap(), key)
}

/// Returns a token of 1.5 kB that is bound to the client's certificate.
fn token(thumbprint: Thumbprint) -> String {
    let claims =
        serde_json::json!({ "cnf": { "x5t#S256": thumbprint.x5t_s256() }, "padding": "p".repeat(780) });
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let header = part(br#"{"typ":"JWT","alg":"RS256","kid":"0123456789abcdef0123456789a"}"#);
    format!("{header}.{}.{}", part(claims.to_string().as_bytes()), part(&[0x5a; 256]))
}

fn tls(host: &rcgen::Certificate, key: &KeyPair, client: &rcgen::Certificate) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(client.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![CertificateDer::from(host.der().to_vec())], key)
        .unwrap();
    // Session resumption is off, so that a new handshake is a full one.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn serve(listener: TcpListener, tls: &TlsAcceptor, answer: &Bytes, keep: Keep) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            tokio::spawn(connection(tcp, tls.clone(), answer.clone(), keep));
        }
    });
}

async fn connection(mut tcp: TcpStream, tls: TlsAcceptor, answer: Bytes, keep: Keep) {
    connect_request(&mut tcp).await;
    // A client that closed its connection does not matter here.
    let Ok(stream) = tls.accept(tcp).await else { return };
    let answered = AtomicUsize::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        let last = keep == Keep::ForTwoRequests && answered.fetch_add(1, Ordering::Relaxed) == 1;
        let answer = answer.clone();
        async move {
            request.into_body().collect().await.unwrap();
            let mut response = Response::builder().header("content-type", "application/json; charset=utf-8");
            if last {
                response = response.header("connection", "close");
            }
            Ok::<_, Infallible>(response.body(Full::new(answer)).unwrap())
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Reads a `CONNECT` request with its headers and accepts it.
async fn connect_request(tcp: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
}
