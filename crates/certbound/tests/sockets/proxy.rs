//! Proxies: the requests that they receive, their refusals, and the addresses that are reached directly.

use std::time::Duration;

use bytes::Bytes;
use certbound::error::{NetworkError, TransportError};
use certbound::transport::Via;
use certbound::{Network, Transport as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::server::{Asks, TestServer, closed_port, ok};

/// A proxy that records the head of the first request and answers with `answer`.
async fn proxy(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let head = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tcp.read_exact(&mut byte).await.unwrap();
            head.push(byte[0]);
        }
        tcp.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    (address, head)
}

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn a_proxy_is_told_host_and_port_and_given_the_password() {
    let (address, head) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let network = Network::builder().proxy(format!("http://user:pass%20word@{address}")).build().unwrap();
    let error =
        network.transport().send(get("https://login.microsoftonline.com/x"), Via::Tls).await.unwrap_err();
    assert!(matches!(error, TransportError::ProxyRefused { status: 407, .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("the proxy {address} requires a user name")), "{error}");
    assert!(error.fix().contains("HTTPS_PROXY=http://user:password@host:port"), "{}", error.fix());
    assert!(!error.to_string().contains("pass word") && !error.to_string().contains("pass%20"), "{error}");
    let head = head.await.unwrap();
    assert!(head.starts_with("CONNECT login.microsoftonline.com:443 HTTP/1.1\r\n"), "{head}");
    // `user:pass word` in base64.
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic "), "{head}");
    assert!(head.contains("dXNlcjpwYXNzIHdvcmQ="), "{head}");
}

#[tokio::test]
async fn a_proxy_that_refuses_or_breaks_is_named_with_its_answer() {
    for (answer, status, transient) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nNo.\n", Some("403 Forbidden"), false),
        ("HTTP/1.0 502 x\r\n\r\n", Some("502 Bad Gateway"), true),
        ("HTTP/1.1 200 OK\r\n\r\nHELLO", None, true),
        ("HTTP/1.1 20", None, true),
        ("SSH-2.0-x\r\n\r\n", None, true),
        ("", None, true),
    ] {
        let (address, _) = proxy(answer).await;
        let network = Network::builder().proxy(format!("http://{address}")).build().unwrap();
        let error = network.transport().send(get("https://a.example/"), Via::Tls).await.unwrap_err();
        let text = error.to_string();
        match status {
            Some(status) => assert_eq!(
                text,
                format!("a.example: the proxy {address} refused to open a connection: it answered {status}")
            ),
            None => assert!(
                text.starts_with(&format!("a.example: the connection to the proxy {address} failed: ")),
                "{text}"
            ),
        }
        assert_eq!((error.code(), error.is_transient()), ("proxy_failed", transient), "{text}");
    }
    let (_socket, closed) = closed_port();
    let network = Network::builder().proxy(format!("http://{closed}")).build().unwrap();
    let error = network.transport().send(get("https://a.example/"), Via::Tls).await.unwrap_err();
    let expected = format!(
        "a.example: the connection to the proxy {closed} failed: no server listens at port {}: ",
        closed.port()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
}

/// The reset follows the answer at once, so the client may see both together.
#[tokio::test]
async fn a_proxy_that_answers_and_then_resets_is_named_with_its_answer() {
    for _ in 0..20 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.unwrap());
            }
            tcp.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n").await.unwrap();
            tcp.set_zero_linger().unwrap();
        });
        let network = Network::builder().proxy(format!("http://{address}")).build().unwrap();
        let error = network.transport().send(get("https://a.example/"), Via::Tls).await.unwrap_err();
        assert!(matches!(error, TransportError::ProxyRefused { status: 403, .. }), "{error:?}");
    }
}

/// Time is paused: it jumps to the limit as soon as no task can run.
#[tokio::test(start_paused = true)]
async fn a_time_out_names_the_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limit = Duration::from_secs(5);
    let builder = || Network::builder().proxy(format!("http://{address}"));
    for (network, what) in [
        (builder().connect_timeout(limit), "connecting"),
        (builder().exchange_timeout(limit).connect_timeout(2 * limit), "the request"),
    ] {
        let transport = network.build().unwrap().transport();
        let error = transport.send(get("https://a.example/"), Via::Tls).await.unwrap_err();
        let expected = format!("a.example: {what} through the proxy {address} took longer than 5 s");
        assert_eq!((error.to_string(), error.is_transient()), (expected, true));
    }
}

/// TLS uses the tunnel as its connection, after an answer of HTTP/1.0 too.
#[tokio::test]
async fn a_tunnel_reaches_the_server() {
    let server = TestServer::start(Asks::ForNothing, ok("through")).await;
    for answer in [
        "HTTP/1.0 200 Connection established\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let to = server.address;
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            client.write_all(answer.as_bytes()).await.unwrap();
            let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
        // The proxy's rules do not count this address as loopback.
        let url = format!("https://[::ffff:127.0.0.1]:{}/", server.address.port());
        let network = server.network().proxy(format!("http://{proxy}")).build().unwrap();
        let error = network.transport().send(get(&url), Via::Tls).await;
        // The certificate is for another spelling of the address, so the handshake reached the check of the name.
        let error = error.unwrap_err();
        assert_eq!(error.code(), "tls_failed", "{error}");
        assert!(error.to_string().contains("it is for 127.0.0.1, localhost, not for "), "{error}");
    }
}

#[tokio::test]
async fn loopback_is_always_direct() {
    let server = TestServer::start(Asks::ForNothing, ok("direct")).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let network = server.network().proxy(format!("http://{nobody}")).build().unwrap();
    for url in [server.url(), server.url().replace("127.0.0.1", "localhost")] {
        let answer = network.transport().send(get(&url), Via::Tls).await.unwrap();
        assert_eq!(answer.response.body(), "direct");
    }
}

#[test]
fn what_is_no_proxy_and_no_root_is_refused_without_showing_it() {
    for proxy in ["", "proxy", "socks5://proxy:1", "https://proxy:1", "http://"] {
        let error = Network::builder().proxy(proxy).build().unwrap_err();
        assert_eq!(error, NetworkError::Proxy { from: "the configuration" }, "{proxy}");
    }
    for roots in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(
            Network::builder().no_proxy().only_roots_pem(roots).build().unwrap_err(),
            NetworkError::Roots
        );
    }
}
