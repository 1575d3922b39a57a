//! The right way: the certificate is requested once, and then the token is sent.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use certbound::certificate::{SignatureScheme, Signer};
use certbound::error::{KeyError, TransportError};
use certbound::transport::{HyperTransport, Via};
use certbound::{BindingCertificate, Network, Transport as _};
use http::Request;
use http::header::AUTHORIZATION;
use openssl::ssl::{Ssl, SslAcceptor, SslConnector, SslMethod, SslVerifyMode, SslVersion};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Peer, Pki, TOKEN, call, certificate, serve, transport};

/// A vault: it requests the certificate on the first request of a connection.
async fn vault(mut peer: Peer) {
    while let Some(head) = peer.request().await {
        if !head.contains("authorization") {
            peer.ask().await.unwrap();
            peer.answer("401 Unauthorized", "no token").await;
        } else {
            peer.answer("200 OK", "the secret").await;
        }
    }
}

#[tokio::test]
async fn the_token_is_sent_only_after_the_certificate_was_requested_and_presented() {
    let pki = Pki::new();
    let (address, seen) = serve(&pki, vault).await;
    let (transport, certificate) = (transport(&pki), certificate());
    for _ in 0..2 {
        let answer = call(&transport, address, &certificate).await.unwrap();
        assert_eq!(answer.response.status(), 200);
        assert_eq!(answer.response.body(), "the secret");
        assert!(answer.tls.certificate_requested && !answer.tls.resumed);
        assert_eq!(answer.tls.presented, Some(certificate.thumbprint()));
    }
    let requests = seen.requests();
    assert_eq!(requests.len(), 4, "each call has its own connection: {requests:?}");
    for pair in requests.chunks(2) {
        let [(first, before), (second, at)] = pair else { panic!("two requests") };
        assert!(first.starts_with("GET /secrets/demo?api-version=7.4 HTTP/1.1\r\n"), "{first}");
        assert!(first.contains("x-ms-tokenboundauth: true") && !first.contains("authorization"), "{first}");
        assert_eq!(*before, None, "the first handshake requested no certificate");
        assert!(second.contains(&format!("authorization: mtls_pop {TOKEN}")), "{second}");
        assert_eq!(at.as_deref(), Some(&*certificate.chain().ders()[0]));
    }
}

#[tokio::test]
async fn the_first_request_has_no_body_and_no_header_of_the_caller() {
    let pki = Pki::new();
    let (address, seen) = serve(&pki, vault).await;
    let url = format!("https://localhost:{}/secrets/a?api-version=7.4", address.port());
    let request = Request::put(url)
        .header(AUTHORIZATION, format!("mtls_pop {TOKEN}"))
        .header("cookie", "c")
        .body(Bytes::from_static(b"the new secret\r\n\r\n"));
    let certificate = certificate();
    let via = Via::Resource(&certificate);
    let answer = transport(&pki).send(request.unwrap(), via).await.unwrap();
    assert_eq!(answer.response.status(), 200);
    let requests = seen.requests();
    let host = format!("host: localhost:{}", address.port());
    let mut lines: Vec<&str> = requests[0].0.lines().collect();
    lines.sort_unstable();
    let expected = ["", "GET /secrets/a?api-version=7.4 HTTP/1.1", &host, "x-ms-tokenboundauth: true"];
    assert_eq!(lines, expected);
    assert!(requests[1].0.starts_with("PUT /secrets/a?api-version=7.4 HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[1].0.contains("cookie: c\r\n"), "{requests:?}");
}

/// The client of this test does not read, so the buffers become full.
#[tokio::test]
async fn an_unfinished_write_can_be_repeated_with_a_different_buffer() {
    let (near, far) = tokio::io::duplex(4 * 1024);
    let client = async {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        let ssl = connector.build().configure().unwrap().into_ssl("localhost").unwrap();
        let mut client = tokio_openssl::SslStream::new(ssl, near).unwrap();
        Pin::new(&mut client).connect().await.unwrap();
        client
    };
    let acceptor = Pki::new().acceptor();
    let (_client, accepted) = tokio::join!(client, acceptor.accept(far));
    let (mut server, _) = accepted.unwrap();
    let (first, second) = (vec![1; 16 * 1024], vec![1; 20 * 1024]);
    poll_fn(|cx| {
        while let Poll::Ready(written) = Pin::new(&mut server).poll_write(cx, &first) {
            written.unwrap();
        }
        Poll::Ready(())
    })
    .await;
    let again = poll_fn(|cx| Poll::Ready(Pin::new(&mut server).poll_write(cx, &second))).await;
    assert!(again.is_pending(), "{again:?}");
}

#[tokio::test]
async fn rustls_sends_nothing_to_such_a_vault_and_names_the_reason() {
    let pki = Pki::new();
    let (address, seen) = serve(&pki, vault).await;
    let network = Network::builder().no_proxy().only_roots_pem(pki.ca_pem.clone()).build().unwrap();
    let usual: &HyperTransport = &network.transport();
    let error = call(&network.transport(), address, &certificate()).await.unwrap_err();
    assert_eq!(error, TransportError::CertificateNotRequested { host: "localhost".to_owned() }, "{usual:?}");
    assert!(seen.requests().is_empty());
    let vault = TransportError::CertificateNotRequested { host: "demo.vault.azure.net".to_owned() };
    for part in
        ["after the handshake", "rustls does not renegotiate", "certbound-openssl", "--features openssl"]
    {
        assert!(vault.fix().contains(part), "{}", vault.fix());
    }
}

/// A server that requests the certificate in its first handshake gets the token without a first request.
#[tokio::test]
async fn a_vault_that_asks_at_once_is_called_at_once() {
    let pki = Pki::new();
    let (address, heads) = at_once(&pki).await;
    let answer = call(&transport(&pki), address, &certificate()).await.unwrap();
    assert_eq!(answer.response.status(), 204);
    assert_eq!(answer.tls.presented, Some(certificate().thumbprint()));
    assert!(heads.await.unwrap().contains(TOKEN));
}

async fn at_once(pki: &Pki) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let (chain, key) = pki.issue("localhost");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    acceptor.set_certificate(&openssl::x509::X509::from_pem(chain.as_bytes()).unwrap()).unwrap();
    acceptor.set_private_key(&openssl::pkey::PKey::private_key_from_pem(key.as_bytes()).unwrap()).unwrap();
    acceptor.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let head = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let ssl = Ssl::new(acceptor.context()).unwrap();
        let mut stream = tokio_openssl::SslStream::new(ssl, tcp).unwrap();
        Pin::new(&mut stream).accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap()
    });
    (address, head)
}

/// A signer whose key no program can read.
struct Device(BindingCertificate);

impl Signer for Device {
    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::EcdsaP256Sha256]
    }

    fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = self.0.dangerous_private_key().unwrap();
        let key = openssl::pkey::PKey::private_key_from_der(key.dangerous_der()).unwrap();
        let digest = openssl::hash::MessageDigest::sha256();
        let mut signer = openssl::sign::Signer::new(digest, &key).unwrap();
        Ok(signer.sign_oneshot_to_vec(message).unwrap())
    }
}

#[tokio::test]
async fn a_vault_that_asks_late_gets_nothing_with_the_key_of_a_signer() {
    let pki = Pki::new();
    let (address, seen) = serve(&pki, vault).await;
    let error = call(&transport(&pki), address, &of_device()).await.unwrap_err();
    assert_eq!(error, TransportError::KeyNotExportable { host: "localhost".to_owned() });
    assert_eq!(error.code(), "key_not_exportable");
    assert!(
        error.to_string().contains("the bytes of the private key, which this program does not have"),
        "{error}"
    );
    assert!(seen.requests().is_empty());
}

#[tokio::test]
async fn a_vault_that_asks_at_once_is_called_with_the_key_of_a_signer() {
    let pki = Pki::new();
    let (address, heads) = at_once(&pki).await;
    let answer = call(&transport(&pki), address, &of_device()).await.unwrap();
    assert_eq!(answer.response.status(), 204);
    assert_eq!(answer.tls.presented, Some(certificate().thumbprint()));
    assert!(heads.await.unwrap().contains(TOKEN));
}

fn of_device() -> BindingCertificate {
    let chain = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/certificates/p256.pem");
    let chain = std::fs::read(chain).unwrap();
    BindingCertificate::from_signer(&chain, Device(certificate())).unwrap()
}
