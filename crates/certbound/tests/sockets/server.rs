//! A TLS server on a loopback port, whose behaviour the test sets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certbound::transport::{NetworkBuilder, ServerThumbprint};
use certbound::{Network, Thumbprint};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

/// The server's view of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) certificate: Option<Thumbprint>,
    pub(crate) resumed: bool,
    pub(crate) http_bytes: usize,
    /// The number of certificates, including the leaf.
    pub(crate) chain: usize,
}

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    root_pem: String,
    pin: ServerThumbprint,
    seen: Arc<Mutex<Vec<Seen>>>,
    open: watch::Sender<usize>,
}

/// Returns a port at which nothing listens. Nothing can listen there while the socket exists.
pub(crate) fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// An open connection. It is counted until it is dropped.
struct Open(watch::Sender<usize>);

impl Open {
    fn of(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    ForCertificate,
    ForNothing,
    /// The server requires a certificate, and accepts only signatures of ECDSA with P-256.
    ForEcdsa,
    /// The server requests a certificate and then refuses it.
    AndRefuses(Refusal),
}

/// The way in which a server refuses a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// By the TLS alert `certificate_revoked`.
    Revoked,
    /// By the TLS alert `handshake_failure`, which gives no reason.
    WithoutReason,
    /// By a reset after the handshake.
    ByReset,
}

impl TestServer {
    /// Answers the first request of each connection with `answer` and closes the connection. If the answer contains
    /// `keep-alive`, the client closes the connection.
    pub(crate) async fn start(asks: Asks, answer: impl Into<Vec<u8>>) -> Self {
        Self::serve(asks, config(asks, rustls::ALL_VERSIONS, true), answer).await
    }

    /// Starts the same server with one version of TLS.
    pub(crate) async fn start_by(
        version: &'static SupportedProtocolVersion,
        asks: Asks,
        answer: impl Into<Vec<u8>>,
    ) -> Self {
        Self::serve(asks, config(asks, &[version], true), answer).await
    }

    /// Starts a server with these versions of TLS that requests no certificate. If `has_key` is false, the server signs
    /// with a different key.
    pub(crate) async fn start_with(
        versions: &[&'static SupportedProtocolVersion],
        has_key: bool,
        answer: impl Into<Vec<u8>>,
    ) -> Self {
        Self::serve(Asks::ForNothing, config(Asks::ForNothing, versions, has_key), answer).await
    }

    async fn serve(
        asks: Asks,
        (config, root_pem, pin): (Arc<ServerConfig>, String, ServerThumbprint),
        answer: impl Into<Vec<u8>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer.into()));
        let open = watch::Sender::new(0);
        let each = open.clone();
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, log, answer) = (acceptor.clone(), Arc::clone(&log), Arc::clone(&answer));
                let open = Open::of(&each);
                tokio::spawn(async move {
                    let _open = open;
                    let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                    if asks == Asks::AndRefuses(Refusal::ByReset) {
                        // The connection is reset when it is dropped.
                        tls.get_ref().0.set_zero_linger().unwrap();
                        return;
                    }
                    let mut buffer = [0; 16 * 1024];
                    let http_bytes = tls.read(&mut buffer).await.unwrap_or(0);
                    let connection = tls.get_ref().1;
                    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
                    let seen = Seen {
                        certificate: leaf.map(|leaf| Thumbprint::of_der(leaf)),
                        resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
                        http_bytes,
                        chain: connection.peer_certificates().map_or(0, <[_]>::len),
                    };
                    log.lock().unwrap().push(seen);
                    if http_bytes > 0 {
                        let _ = tls.write_all(&answer).await;
                    }
                    if answer.windows(KEEPS.len()).any(|window| window == KEEPS.as_bytes()) {
                        // Waits until the client closes the connection.
                        let _ = tls.read(&mut buffer).await;
                    }
                    let _ = tls.shutdown().await;
                });
            }
        });
        Self { address, root_pem, pin, seen, open }
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// Waits, with a time limit, until this number of connections is open.
    pub(crate) async fn until_open(&self, count: usize) {
        let mut open = self.open.subscribe();
        let reached = tokio::time::timeout(Duration::from_secs(20), open.wait_for(|open| *open == count));
        assert!(reached.await.is_ok(), "{} are open, and not {count}", self.open());
    }

    pub(crate) fn pin(&self) -> ServerThumbprint {
        self.pin
    }

    pub(crate) fn network(&self) -> NetworkBuilder {
        Network::builder().no_proxy().only_roots_pem(self.root_pem.clone())
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.address.port())
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Returns the server's configuration, and the root that clients must trust. It issues tickets, so that clients could
/// resume sessions.
pub(crate) fn config(
    asks: Asks,
    versions: &[&'static SupportedProtocolVersion],
    has_key: bool,
) -> (Arc<ServerConfig>, String, ServerThumbprint) {
    let certified =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let key = if has_key { &certified.signing_key } else { &other };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![CertificateDer::from(certified.cert.der().to_vec())];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let builder = match asks {
        Asks::ForNothing => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
        asks => builder.with_client_cert_verifier(Arc::new(AnyClient(Arc::clone(&provider), asks))),
    };
    let pin = ServerThumbprint::of_der(certified.cert.der());
    // The library compares key and certificate only if it gets both in one call.
    let signs = provider.key_provider.load_private_key(key).unwrap();
    let config = builder.with_cert_resolver(Arc::new(Presents(Arc::new(CertifiedKey::new(chain, signs)))));
    (Arc::new(config), certified.cert.pem(), pin)
}

#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesServerCert for Presents {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Returns an answer after which the connection remains open.
pub(crate) fn stays_open(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{KEEPS}\r\n\r\n{body}", body.len())
}

const KEEPS: &str = "Connection: keep-alive";

/// Returns an answer after which the server closes the connection.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[derive(Debug)]
struct AnyClient(Arc<rustls::crypto::CryptoProvider>, Asks);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        self.1 == Asks::ForEcdsa
    }

    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        match self.1 {
            Asks::AndRefuses(Refusal::Revoked) => Err(rustls::CertificateError::Revoked.into()),
            Asks::AndRefuses(Refusal::WithoutReason) => {
                Err(rustls::Error::General("a refusal without a reason".to_owned()))
            }
            _ => Ok(rustls::server::danger::ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        match self.1 {
            Asks::ForEcdsa => vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256],
            _ => self.0.signature_verification_algorithms.supported_schemes(),
        }
    }
}
