//! A server that is identified only by the SHA-1 of its certificate, on real connections.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use certbound::error::{PlatformError, TransportError};
use certbound::managed_identity::IdentityId;
use certbound::transport::{ServerThumbprint, Via};
use certbound::{Error, ManagedIdentity, Network, ResourceScope, Transport as _};
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::{Emulator, PLATFORM_SECRET, World};
use rustls::SupportedProtocolVersion;

use crate::server::{Asks, TestServer, ok};

const NOT_THIS: &str = "A9993E364706816ABA3E25717850C26C9CD0D89D";

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).header("secret", PLATFORM_SECRET).body(Bytes::new()).unwrap()
}

/// An emulator on real sockets, and a network that does not trust its authority.
struct Node {
    emulator: Arc<Emulator>,
    server: Server,
    network: Network,
}

impl Node {
    async fn start() -> Self {
        let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
        let server = Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let network = Network::builder().no_proxy().only_roots_pem(emulator.ca_pem()).build().unwrap();
        Self { emulator, server, network }
    }

    fn identity(&self, pin: &str) -> ManagedIdentity {
        let (endpoint, pin) = (self.server.service_fabric_url(), pin.to_owned());
        let builder = ManagedIdentity::builder(IdentityId::System).with_network(&self.network);
        let builder = builder.with_environment(move |name| match name {
            "IDENTITY_ENDPOINT" => Some(endpoint.clone()),
            "IDENTITY_HEADER" => Some(PLATFORM_SECRET.to_owned()),
            "IDENTITY_SERVER_THUMBPRINT" => Some(pin.clone()),
            _ => None,
        });
        builder.build().unwrap()
    }
}

/// Returns openssl's thumbprint of the certificate: pairs of digits separated by colons.
fn by_openssl(pem: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    let output = openssl.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().split_once('=').unwrap().1.to_owned()
}

#[tokio::test]
async fn a_token_comes_from_the_server_that_openssl_knows_by_the_same_thumbprint() {
    let node = Node::start().await;
    let pin = by_openssl(&node.emulator.service_fabric_pem());
    assert_eq!((pin.len(), pin.matches(':').count()), (59, 19), "{pin}");
    let vault = ResourceScope::parse("https://vault.azure.net/.default").unwrap();
    node.identity(&pin).bearer_token(&vault).await.unwrap();
    let entry = &node.emulator.journal()[0];
    assert_eq!((entry.path.as_str(), entry.status), ("/service-fabric/token", 200));
    assert_eq!((entry.protocol.as_deref(), entry.client_certificate.as_deref()), (Some("TLSv1_3"), None));

    // The same server is called with another pin while its connection is still open.
    let astray = node.identity(NOT_THIS);
    let error = astray.bearer_token(&vault).await.unwrap_err();
    let presented = node.emulator.service_fabric_thumbprint();
    let cause = TransportError::ServerNotPinned {
        host: "127.0.0.1".to_owned(),
        pinned: NOT_THIS.parse().unwrap(),
        presented,
    };
    let Error::Platform { what: PlatformError::Unreachable { cause: found, .. }, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*found, cause);
    assert!(!format!("{error} {error:?}").contains(PLATFORM_SECRET));
    assert_eq!(node.emulator.journal().len(), 1, "no second request");
    // A second attempt fails too, so nothing was cached.
    assert_eq!(astray.bearer_token(&vault).await.unwrap_err(), error);
    node.server.shutdown().await;
}

#[tokio::test]
async fn a_certificate_that_the_roots_vouch_for_is_not_the_pinned_one() {
    let server = TestServer::start(Asks::ForNothing, ok("x")).await;
    let transport = server.network().build().unwrap().transport();
    let pinned: ServerThumbprint = NOT_THIS.parse().unwrap();
    let refused =
        TransportError::ServerNotPinned { host: "127.0.0.1".to_owned(), pinned, presented: server.pin() };
    assert_eq!(transport.send(get(&server.url()), Via::Pinned(&pinned)).await.unwrap_err(), refused);
    // Without a pin the same server is accepted. Its connection is not reused for a request with a pin.
    transport.send(get(&server.url()), Via::Tls).await.unwrap();
    assert_eq!(transport.send(get(&server.url()), Via::Pinned(&pinned)).await.unwrap_err(), refused);
    let with_http = server.seen().into_iter().filter(|seen| seen.http_bytes > 0).count();
    assert_eq!(with_http, 1, "only the request without a pin arrived");
}

#[tokio::test]
async fn the_pin_alone_decides_and_serves_nothing_else() {
    let versions: [&[&'static SupportedProtocolVersion]; 2] =
        [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];
    for versions in versions {
        let server = TestServer::start_with(versions, true, ok("x")).await;
        // This network trusts only the root of another server.
        let stranger = TestServer::start(Asks::ForNothing, ok("x")).await;
        let transport = stranger.network().build().unwrap().transport();
        let answer = transport.send(get(&server.url()), Via::Pinned(&server.pin())).await.unwrap();
        assert_eq!((answer.response.status().as_u16(), answer.tls.presented), (200, None));
        let error = transport.send(get(&server.url()), Via::Tls).await.unwrap_err();
        assert!(matches!(error, TransportError::Tls { .. }), "{error:?}");
        // No session is resumed: each connection shows the certificate.
        transport.send(get(&server.url()), Via::Pinned(&server.pin())).await.unwrap();
        assert!(server.seen().iter().all(|seen| !seen.resumed && seen.certificate.is_none()));
        let plain = server.url().replace("https", "http");
        let error = transport.send(get(&plain), Via::Pinned(&server.pin())).await.unwrap_err();
        assert_eq!(error, TransportError::NotHttps);
    }
}

/// The certificate is public, so every server can present it. Only the holder of its key can sign the handshake.
#[tokio::test]
async fn the_pinned_certificate_without_its_key_is_refused() {
    let versions: [&[&'static SupportedProtocolVersion]; 2] =
        [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];
    for versions in versions {
        let server = TestServer::start_with(versions, false, ok("x")).await;
        let transport = server.network().build().unwrap().transport();
        let error = transport.send(get(&server.url()), Via::Pinned(&server.pin())).await.unwrap_err();
        let TransportError::Tls { reason, .. } = &error else { panic!("{error:?}") };
        assert!(reason.to_string().contains("BadSignature"), "{reason}");
        assert!(server.seen().iter().all(|seen| seen.http_bytes == 0), "{:?}", server.seen());
    }
}

/// An IPv4 address mapped into IPv6 is loopback for the system, but not for the proxy's rules.
#[tokio::test]
async fn no_proxy_stands_before_the_platform() {
    let server = TestServer::start(Asks::ForNothing, ok("x")).await;
    let network = server.network().proxy("http://127.0.0.1:9").build().unwrap();
    let url = format!("https://[::ffff:127.0.0.1]:{}/", server.address.port());
    let error = network.transport().send(get(&url), Via::Tls).await.unwrap_err();
    assert!(matches!(error, TransportError::Proxy { .. }), "{error:?}");
    network.transport().send(get(&url), Via::Pinned(&server.pin())).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_a_large_answer_is_none() {
    let elsewhere = TestServer::start(Asks::ForNothing, ok("x")).await;
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.url()
    );
    let server = TestServer::start(Asks::ForNothing, answer).await;
    let transport = server.network().build().unwrap().transport();
    let answer = transport.send(get(&server.url()), Via::Pinned(&server.pin())).await.unwrap();
    assert_eq!((answer.response.status().as_u16(), elsewhere.seen().len()), (307, 0));

    let server = TestServer::start(Asks::ForNothing, ok(&"x".repeat(1024 * 1024 + 1))).await;
    let error = transport.send(get(&server.url()), Via::Pinned(&server.pin())).await.unwrap_err();
    assert!(matches!(error, TransportError::TooLarge { limit: 1_048_576, .. }), "{error:?}");
}
