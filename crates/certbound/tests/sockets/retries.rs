//! Tests of token requests over real connections that break before or after the request is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certbound::credential::BySecret;
use certbound::{Authority, Client, Network, ResourceScope, Secret, UnixTime};
use certbound_testkit::ManualClock;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Asks, TestServer, closed_port, ok};

const TOKEN: &str = r#"{"token_type":"Bearer","access_token":"T","expires_in":3600}"#;

fn client(network: &Network, port: u16, clock: &ManualClock) -> Client<BySecret> {
    let authority = format!("https://127.0.0.1:{port}/bea21ebe-8b64-4d06-9f6d-6a889b120a7c");
    Client::builder(Authority::parse(&authority).unwrap(), "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
        .with_network(network)
        .with_clock(clock.clone())
        .without_authority_validation()
        .with_secret(Secret::new("s"))
        .build()
        .unwrap()
}

fn clock() -> ManualClock {
    ManualClock::at(UnixTime::from_secs(1_785_000_000))
}

fn scope() -> ResourceScope {
    ResourceScope::parse("https://vault.azure.net/.default").unwrap()
}

/// The way in which a connection ends in the TLS handshake.
#[derive(Clone, Copy, Debug)]
enum Ends {
    ByReset,
    ByClose,
}

/// Ends the first connection after the client's first bytes of TLS, and forwards each later connection to `server`.
/// Returns the port and the number of connections so far.
async fn ending(server: &TestServer, ends: Ends) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), server.address);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                // A connection with unread bytes is reset when it is dropped.
                while tcp.read(&mut [0; 64 * 1024]).await.unwrap() == 0 {}
                if let Ends::ByReset = ends {
                    tcp.set_zero_linger().unwrap();
                }
                continue;
            }
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut tcp, &mut server).await;
            });
        }
    });
    (port, count)
}

#[tokio::test]
async fn a_connection_that_ends_in_the_handshake_is_opened_again() {
    for ends in [Ends::ByReset, Ends::ByClose] {
        let server = TestServer::start(Asks::ForNothing, ok(TOKEN)).await;
        let (port, connections) = ending(&server, ends).await;
        let (network, clock) = (server.network().build().unwrap(), clock());
        let token = client(&network, port, &clock).bearer_token(&scope()).await.unwrap();
        let attempts = token.details().legs[0].attempts;
        assert_eq!((attempts, connections.load(Ordering::SeqCst)), (2, 2), "{ends:?}");
        assert_eq!((clock.waited().len(), server.seen().len()), (1, 1), "{ends:?}");
    }
}

/// The proxy reads the request for a tunnel and closes the connection without an answer.
#[tokio::test]
async fn a_tunnel_that_ends_without_an_answer_is_opened_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.unwrap());
            }
        }
    });
    let clock = clock();
    let network = Network::builder().proxy(proxy).build().unwrap();
    let authority = "https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c";
    let client =
        Client::builder(Authority::parse(authority).unwrap(), "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
            .with_network(&network)
            .with_clock(clock.clone())
            .with_secret(Secret::new("s"))
            .build()
            .unwrap();
    let error = client.bearer_token(&scope()).await.unwrap_err();
    assert_eq!((error.code(), error.target().unwrap().attempts), ("proxy_failed", 2));
    assert!(error.to_string().contains("the proxy closed the connection before it answered"), "{error}");
    assert_eq!((count.load(Ordering::SeqCst), clock.waited().len()), (2, 1));
}

#[tokio::test]
async fn a_port_that_nobody_listens_at_is_tried_twice() {
    let (_socket, address) = closed_port();
    let clock = clock();
    let network = Network::builder().no_proxy().build().unwrap();
    let error = client(&network, address.port(), &clock).bearer_token(&scope()).await.unwrap_err();
    assert_eq!((error.code(), error.target().unwrap().attempts), ("connect_failed", 2));
    assert_eq!(clock.waited().len(), 1);
}

/// The server has read the request, so it may have been processed.
#[tokio::test]
async fn a_request_whose_answer_breaks_off_is_sent_once() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"] {
        let server = TestServer::start(Asks::ForNothing, answer).await;
        let (network, clock) = (server.network().build().unwrap(), clock());
        let error = client(&network, server.address.port(), &clock).bearer_token(&scope()).await.unwrap_err();
        assert_eq!((error.code(), error.target().unwrap().attempts), ("connection_interrupted", 1));
        assert_eq!((server.seen().len(), clock.waited().len()), (1, 0), "{answer:?}");
    }
}

#[tokio::test]
async fn a_5xx_is_asked_again_on_a_real_connection_too() {
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = TestServer::start(Asks::ForNothing, busy).await;
    let (network, clock) = (server.network().build().unwrap(), clock());
    let error = client(&network, server.address.port(), &clock).bearer_token(&scope()).await.unwrap_err();
    assert_eq!((error.code(), error.target().unwrap().attempts), ("service_not_available", 2));
    assert_eq!((server.seen().len(), clock.waited().len()), (2, 1));
}
