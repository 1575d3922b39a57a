//! Tests of the reuse of connections.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::transport::{Answer, Via};
use certbound::{Network, Transport as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::server::{Asks, config};

/// The server's reaction to a request.
#[derive(Clone, Copy)]
enum Then {
    Answer(usize),
    AnswerAndHangUp,
    HangUp,
}

/// A server that follows a script, request by request, on all connections.
struct Scripted {
    port: u16,
    root_pem: String,
    log: Arc<Mutex<Vec<Event>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A request on the connection with this number.
    Request(usize),
    /// The client closed the connection with this number.
    Closed(usize),
}

impl Scripted {
    async fn start(script: impl IntoIterator<Item = Then>) -> Self {
        let (config, root_pem, _) = config(Asks::ForNothing, rustls::ALL_VERSIONS, true);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let seen = Arc::clone(&log);
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            for connection in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, log, script) = (acceptor.clone(), Arc::clone(&seen), Arc::clone(&script));
                tokio::spawn(async move {
                    let mut tls = acceptor.accept(tcp).await.unwrap();
                    let mut buffer = [0; 16 * 1024];
                    loop {
                        if tls.read(&mut buffer).await.unwrap_or(0) == 0 {
                            log.lock().unwrap().push(Event::Closed(connection));
                            return;
                        }
                        log.lock().unwrap().push(Event::Request(connection));
                        let then = script.lock().unwrap().pop_front().unwrap();
                        let length = if let Then::Answer(length) = then { length } else { 1 };
                        if !matches!(then, Then::HangUp) {
                            let body = "x".repeat(length);
                            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                            if tls.write_all(answer.as_bytes()).await.is_err() {
                                log.lock().unwrap().push(Event::Closed(connection));
                                return;
                            }
                        }
                        if !matches!(then, Then::Answer(_)) {
                            tls.shutdown().await.unwrap();
                            return;
                        }
                    }
                });
            }
        });
        Self { port, root_pem, log }
    }

    fn network(&self) -> Network {
        let builder = Network::builder().no_proxy().only_roots_pem(self.root_pem.clone());
        builder.max_body_bytes(1000).build().unwrap()
    }

    async fn ask(&self, network: &Network) -> Result<Answer, TransportError> {
        let request = http::Request::post(format!("https://127.0.0.1:{}/", self.port));
        network.transport().send(request.body(Bytes::from_static(b"a=b")).unwrap(), Via::Tls).await
    }

    fn log(&self) -> Vec<Event> {
        self.log.lock().unwrap().clone()
    }
}

/// Runs all work that needs no time. On loopback, sent data arrives at once.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Advances the time and runs the work that this causes.
async fn after(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
    settle().await;
}

#[tokio::test]
async fn one_request_after_another_goes_out_on_one_connection() {
    let server = Scripted::start([Then::Answer(1), Then::Answer(0), Then::Answer(1000)]).await;
    let network = server.network();
    for _ in 0..3 {
        server.ask(&network).await.unwrap();
    }
    assert_eq!(server.log(), [Event::Request(0), Event::Request(0), Event::Request(0)]);
}

#[tokio::test]
async fn two_requests_at_once_share_none() {
    let server = Scripted::start([Then::Answer(1); 3]).await;
    let network = server.network();
    let (one, two) = tokio::join!(server.ask(&network), server.ask(&network));
    one.and(two).unwrap();
    let mut log = server.log();
    log.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(log, [Event::Request(0), Event::Request(1)]);
    server.ask(&network).await.unwrap();
    assert_eq!(server.log().len(), 3, "the third request opens no connection");
}

#[tokio::test]
async fn one_that_the_server_closed_is_replaced() {
    let server = Scripted::start([Then::AnswerAndHangUp, Then::Answer(1)]).await;
    let network = server.network();
    server.ask(&network).await.unwrap();
    settle().await;
    server.ask(&network).await.unwrap();
    assert_eq!(server.log(), [Event::Request(0), Event::Request(1)]);
}

/// The server may have processed the request. Only the caller can decide whether it may be sent again.
#[tokio::test]
async fn a_request_that_reached_the_server_is_not_sent_again() {
    let server = Scripted::start([Then::Answer(1), Then::HangUp, Then::Answer(1)]).await;
    let network = server.network();
    server.ask(&network).await.unwrap();
    let error = server.ask(&network).await.unwrap_err();
    assert!(matches!(error, TransportError::Interrupted { .. }), "{error:?}");
    assert_eq!(server.log(), [Event::Request(0), Event::Request(0)]);
    server.ask(&network).await.unwrap();
}

#[tokio::test]
async fn one_whose_answer_was_not_read_is_closed() {
    let server = Scripted::start([Then::Answer(10_000_000), Then::Answer(1)]).await;
    let network = server.network();
    let error = server.ask(&network).await.unwrap_err();
    assert!(matches!(error, TransportError::TooLarge { .. }), "{error:?}");
    server.ask(&network).await.unwrap();
    settle().await;
    assert_eq!(server.log(), [Event::Request(0), Event::Closed(0), Event::Request(1)]);
}

#[tokio::test]
async fn one_that_nobody_uses_is_closed() {
    let server = Scripted::start([Then::Answer(1); 3]).await;
    let network = server.network();
    server.ask(&network).await.unwrap();
    after(89).await;
    server.ask(&network).await.unwrap();
    after(91).await;
    server.ask(&network).await.unwrap();
    settle().await;
    assert_eq!(
        server.log(),
        [Event::Request(0), Event::Request(0), Event::Closed(0), Event::Request(1)],
        "the connection was last used 90 seconds before"
    );
    after(91).await;
    after(91).await;
    assert_eq!(
        server.log().last(),
        Some(&Event::Closed(1)),
        "the connection is closed even without a request"
    );
}

#[tokio::test]
async fn all_are_closed_with_their_transport() {
    let server = Scripted::start([Then::Answer(1)]).await;
    let network = server.network();
    server.ask(&network).await.unwrap();
    drop(network);
    settle().await;
    assert_eq!(server.log(), [Event::Request(0), Event::Closed(0)]);
}

#[tokio::test]
async fn after_a_burst_not_all_are_kept() {
    let server = Scripted::start([Then::Answer(1); 70]).await;
    let network = server.network();
    for result in futures_util::future::join_all((0..70).map(|_| server.ask(&network))).await {
        result.unwrap();
    }
    settle().await;
    let log = server.log();
    let closed = log.iter().filter(|event| matches!(event, Event::Closed(_))).count();
    assert_eq!((log.len() - closed, closed), (70, 6));
}

/// A connection is a task of the runtime in which it was opened.
#[test]
fn a_runtime_that_ended_takes_its_connections_with_it() {
    let elsewhere = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = elsewhere.block_on(Scripted::start([Then::Answer(1); 2]));
    let network = server.network();
    for _ in 0..2 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server.ask(&network)).unwrap();
    }
    let requests = server.log().into_iter().filter(|event| matches!(event, Event::Request(_)));
    assert_eq!(requests.collect::<Vec<_>>(), [Event::Request(0), Event::Request(1)]);
}

#[test]
fn a_connection_of_a_runtime_that_stands_still_is_not_used_in_another_one() {
    let elsewhere = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = elsewhere.block_on(Scripted::start([Then::Answer(1); 2]));
    let network = server.network();
    let stands_still = Builder::new_current_thread().enable_all().build().unwrap();
    stands_still.block_on(server.ask(&network)).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(server.ask(&network)).unwrap();
    drop(stands_still);
}

#[tokio::test]
async fn a_limit_may_be_longer_than_time() {
    let server = Scripted::start([Then::Answer(1)]).await;
    let builder = Network::builder().no_proxy().only_roots_pem(server.root_pem.clone());
    let network = builder.connect_timeout(Duration::MAX).exchange_timeout(Duration::MAX).build().unwrap();
    server.ask(&network).await.unwrap();
}
