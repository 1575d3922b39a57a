//! Servers that misbehave: each causes its own error within its time limit.

use std::time::Duration;

use bytes::Bytes;
use certbound::error::{Phase, TransportError};
use certbound::transport::Via;
use certbound::{Network, Transport as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::server::{Asks, TestServer, closed_port, ok};

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

async fn answer_with(answer: impl Into<Vec<u8>>) -> TransportError {
    let server = TestServer::start(Asks::ForNothing, answer).await;
    let transport = server.network().max_body_bytes(1000).build().unwrap().transport();
    transport.send(get(&server.url()), Via::Tls).await.map(|answer| answer.response.status()).unwrap_err()
}

#[tokio::test]
async fn answers_are_bounded() {
    let host = "127.0.0.1".to_owned();
    let large = TransportError::TooLarge { host, limit: 1000 };
    assert_eq!(answer_with(ok(&"x".repeat(1001))).await, large);
    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600));
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    assert_eq!(answer_with(chunked).await, large);
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70 * 1024));
    assert!(matches!(answer_with(head).await, TransportError::TooLarge { limit: 65_536, .. }));
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1024 * 1024));
    assert!(matches!(answer_with(endless).await, TransportError::TooLarge { limit: 65_536, .. }));
}

#[tokio::test]
async fn broken_answers_are_interruptions() {
    let truncated = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    for answer in
        [truncated, "", "HTTP/1.1 200", "SMTP ready\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"]
    {
        let error = answer_with(answer).await;
        assert!(matches!(error, TransportError::Interrupted { .. }), "{answer:?}: {error:?}");
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn a_server_without_tls_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let _ = tcp.read(&mut [0; 4096]).await;
            let _ = tcp.write_all(answer.as_bytes()).await;
        }
    });
    let transport = Network::builder().no_proxy().build().unwrap().transport();
    let error = transport.send(get(&url), Via::Tls).await.unwrap_err();
    assert!(error.to_string().contains("the server does not use TLS at this port"), "{error}");
    assert!(error.fix().contains("the port in the URL"), "{}", error.fix());
    let error = transport.send(get(&url), Via::Tls).await.unwrap_err();
    assert!(error.to_string().contains("the server closed the connection in the TLS handshake"), "{error}");
}

/// Time is paused: it jumps to the limit as soon as no task can run.
#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let limit = Duration::from_secs(5);
    let patient = Network::builder().no_proxy().connect_timeout(limit).build().unwrap().transport();
    let error = patient.send(get(&url), Via::Tls).await.unwrap_err();
    assert_eq!(
        error,
        TransportError::TimedOut { host: "127.0.0.1".to_owned(), phase: Phase::Connect, limit, proxy: None }
    );

    let limit = Duration::from_secs(2);
    let brisk = Network::builder().no_proxy().exchange_timeout(limit).build().unwrap().transport();
    let error = brisk.send(get(&url), Via::Tls).await.unwrap_err();
    assert_eq!(
        error,
        TransportError::TimedOut { host: "127.0.0.1".to_owned(), phase: Phase::Exchange, limit, proxy: None }
    );
}

#[tokio::test]
async fn a_closed_port_is_a_connection_error_and_plain_http_is_none_at_all() {
    let (_socket, address) = closed_port();
    let port = address.port();
    let transport = Network::builder().no_proxy().build().unwrap().transport();
    let error = transport.send(get(&format!("https://127.0.0.1:{port}/")), Via::Tls).await.unwrap_err();
    assert!(matches!(error, TransportError::Connect { .. }), "{error:?}");
    let expected = format!("127.0.0.1: the connection failed: no server listens at port {port}: ");
    assert!(error.to_string().starts_with(&expected), "{error}");
    // A label of a name has at most 63 bytes (RFC 1035, section 2.3.4), so the resolver asks no server for this name.
    let name = format!("{}.example", "a".repeat(64));
    let nowhere = transport.send(get(&format!("https://{name}/")), Via::Tls).await.unwrap_err();
    let expected = format!("{name}: the connection failed: the name cannot be resolved: ");
    assert!(nowhere.to_string().starts_with(&expected), "{nowhere}");
    for url in ["http://127.0.0.1/", "/path"] {
        assert_eq!(transport.send(get(url), Via::Tls).await.unwrap_err(), TransportError::NotHttps);
    }
}
