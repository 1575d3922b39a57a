//! A server in this process that follows a script, and the certificates of both sides.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::transport::{Answer, Via};
use certbound::{BindingCertificate, Network};
use certbound_openssl::OpensslTransport;
use certbound_openssl::server::{LateAcceptor, LateClient, LateStream};
use http::Request;
use http::header::AUTHORIZATION;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The token of the tests. No server may see it before it has the client's certificate.
pub(crate) const TOKEN: &str = "the-token-of-this-test";

/// A CA for the server, and a client certificate.
pub(crate) struct Pki {
    pub(crate) ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self::named("late test CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let ca_pem = params.self_signed(&key).unwrap().pem();
        Self { ca_pem, issuer: Issuer::new(params, key) }
    }

    /// Returns a CA that `root` issued.
    pub(crate) fn under(root: &Self) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "a CA below a root");
        let ca_pem = params.signed_by(&key, &root.issuer).unwrap().pem();
        Self { ca_pem, issuer: Issuer::new(params, key) }
    }

    /// Returns the PEM of a certificate for `name`, and of its key.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Returns a certificate for `localhost` with a change, and its key, both DER.
    pub(crate) fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        (leaf.der().to_vec(), key.serialize_der())
    }

    pub(crate) fn acceptor(&self) -> LateAcceptor {
        self.acceptor_with(|_| {})
    }

    /// Returns an acceptor whose certificate has a change.
    pub(crate) fn acceptor_with(&self, change: impl FnOnce(&mut CertificateParams)) -> LateAcceptor {
        let (leaf, key) = self.leaf(change);
        LateAcceptor::new(&[leaf], &key).unwrap()
    }
}

/// The head of a request, with the certificate (DER) that the connection had at that moment.
type SeenRequest = (String, Option<Vec<u8>>);

/// What a server saw.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<SeenRequest>>>);

impl Seen {
    pub(crate) fn requests(&self) -> Vec<SeenRequest> {
        self.0.lock().unwrap().clone()
    }

    /// Returns whether any request had the token.
    pub(crate) fn has_token(&self) -> bool {
        self.requests().iter().any(|(head, _)| head.contains(TOKEN))
    }
}

/// One connection of a server.
pub(crate) struct Peer {
    stream: LateStream<TcpStream>,
    pub(crate) client: LateClient<TcpStream>,
    seen: Seen,
    certificate: Option<Vec<u8>>,
}

impl Peer {
    /// Reads the head of a request. `None` if the client has closed the connection.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        self.seen.0.lock().unwrap().push((head.clone(), self.certificate.clone()));
        Some(head)
    }

    pub(crate) async fn ask(&mut self) -> std::io::Result<()> {
        let chain = self.client.request_certificate().await?;
        self.certificate = chain.map(|chain| chain[0].clone());
        Ok(())
    }

    pub(crate) async fn write(&mut self, text: &str) {
        // The client may have closed the connection, which is what some tests are about.
        let _ = self.stream.write_all(text.as_bytes()).await;
        let _ = self.stream.flush().await;
    }

    pub(crate) async fn answer(&mut self, status: &str, body: &str) {
        let length = body.len();
        self.write(&format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")).await;
    }
}

/// Starts a server whose connections follow `script`.
pub(crate) async fn serve<F>(pki: &Pki, script: impl Fn(Peer) -> F + Send + 'static) -> (SocketAddr, Seen)
where
    F: Future<Output = ()> + Send + 'static,
{
    serve_by(pki.acceptor(), script).await
}

/// Starts a server with this acceptor.
pub(crate) async fn serve_by<F>(
    acceptor: LateAcceptor,
    script: impl Fn(Peer) -> F + Send + 'static,
) -> (SocketAddr, Seen)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let journal = seen.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok((stream, client)) = acceptor.accept(tcp).await {
                tokio::spawn(script(Peer { stream, client, seen: journal.clone(), certificate: None }));
            }
        }
    });
    (address, seen)
}

/// The client certificate of the repository's test data.
pub(crate) fn certificate() -> BindingCertificate {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/certificates/");
    let file = |name: &str| format!("{folder}{name}");
    BindingCertificate::from_pem_files(file("p256.pem"), file("p256.pkcs8.pem")).unwrap()
}

pub(crate) fn transport(pki: &Pki) -> OpensslTransport {
    let network = Network::builder().no_proxy().only_roots_pem(pki.ca_pem.clone());
    let network = network.exchange_timeout(Duration::from_secs(20)).build().unwrap();
    OpensslTransport::new(&network).unwrap().with_hosts(["localhost"])
}

/// Sends a request with the token to `address`.
pub(crate) async fn call(
    transport: &impl certbound::Transport,
    address: SocketAddr,
    certificate: &BindingCertificate,
) -> Result<Answer, TransportError> {
    let request = Request::get(format!("https://localhost:{}/secrets/demo?api-version=7.4", address.port()))
        .header(AUTHORIZATION, format!("mtls_pop {TOKEN}"))
        .header("x-ms-tokenboundauth", "true")
        .body(Bytes::new());
    transport.send(request.unwrap(), Via::Resource(certificate)).await
}
