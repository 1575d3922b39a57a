//! Proxies: the requests that they receive, their refusals, and the addresses that are reached directly.

use bytes::Bytes;
use certbound::error::{NetworkError, TransportError};
use certbound::transport::Via;
use certbound::{Network, Transport as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::server::{Asks, TestServer, ok};

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
    assert!(matches!(error, TransportError::Proxy { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("the proxy {address} ")), "{error}");
    assert!(!error.to_string().contains("pass"), "{error}");
    let head = head.await.unwrap();
    assert!(head.starts_with("CONNECT login.microsoftonline.com:443 HTTP/1.1\r\n"), "{head}");
    // `user:pass word` in base64.
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic "), "{head}");
    assert!(head.contains("dXNlcjpwYXNzIHdvcmQ="), "{head}");
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
