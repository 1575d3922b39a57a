//! A platform's own service on real connections: with TLS if its URL is `https`, without a proxy, and with a short time
//! limit.

use std::time::Duration;

use bytes::Bytes;
use certbound::error::{Phase, TransportError};
use certbound::transport::Via;
use certbound::{Network, Transport as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::server::{Asks, Seen, TestServer, ok};

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn an_endpoint_under_tls_is_verified_as_any_other() {
    let server = TestServer::start(Asks::ForCertificate, ok("hello")).await;
    // No server listens at this proxy address, so a request through it would fail.
    let network = server.network().proxy("http://127.0.0.1:9").build().unwrap();
    let answer = network.transport().send(get(&server.url()), Via::Local).await.unwrap();
    assert_eq!(answer.response.body(), "hello");
    assert!(
        matches!(server.seen()[..], [Seen { certificate: None, resumed: false, .. }]),
        "{:?}",
        server.seen()
    );
    // With another trusted root no HTTP is sent.
    let other = TestServer::start(Asks::ForNothing, ok("")).await;
    let network = other.network().build().unwrap();
    let refused = network.transport().send(get(&server.url()), Via::Local).await.unwrap_err();
    assert_eq!(refused.code(), "tls_failed");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn plain_http_is_for_the_platform_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let _ = tcp.read(&mut [0; 4096]).await;
            let _ = tcp.write_all(ok("plain").as_bytes()).await;
        }
    });
    let network = Network::builder().proxy("http://127.0.0.1:9").build().unwrap();
    let answer = network.transport().send(get(&url), Via::Local).await.unwrap();
    assert_eq!(answer.response.body(), "plain");
    assert_eq!(network.transport().send(get(&url), Via::Tls).await.unwrap_err(), TransportError::NotHttps);
    for url in ["ftp://127.0.0.1/", "/path"] {
        assert_eq!(
            network.transport().send(get(url), Via::Local).await.unwrap_err(),
            TransportError::NotHttps
        );
    }
}

/// The server does not accept and its queue is full, so the connection attempt would not end. The runtime's time is
/// paused.
#[tokio::test(start_paused = true)]
async fn connecting_may_take_a_second() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
    {
        queued.push(stream);
    }
    let server = TestServer::start(Asks::ForNothing, ok("")).await;
    let network = server.network().build().unwrap();
    for scheme in ["http", "https"] {
        let begun = tokio::time::Instant::now();
        let url = format!("{scheme}://127.0.0.1:{}/", address.port());
        let error = network.transport().send(get(&url), Via::Local).await.unwrap_err();
        assert!(matches!(error, TransportError::Connect { .. }), "{scheme}: {error:?}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(1_500), "{scheme}: {took:?}");
    }
    // For other hosts the limit is longer.
    let url = format!("https://127.0.0.1:{}/", address.port());
    let begun = tokio::time::Instant::now();
    let error = network.transport().send(get(&url), Via::Tls).await.unwrap_err();
    assert!(matches!(error, TransportError::TimedOut { phase: Phase::Connect, .. }), "{error:?}");
    assert!(begun.elapsed() >= Duration::from_secs(5));
}
