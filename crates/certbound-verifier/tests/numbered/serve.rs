//! The server for forward-auth requests. No client can occupy the server permanently or prevent its shutdown.

use std::net::SocketAddr;
use std::time::Duration;

use certbound_verifier::{ForwardAuth, Limits, VerifyLayer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::verifier;

const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Sends requests until the server stops reading. Reads no response.
async fn fill(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    let questions = QUESTION.repeat(1_000);
    while tokio::time::timeout(Duration::from_millis(100), stream.writable()).await.is_ok() {
        let _ = stream.try_write(&questions);
    }
    stream
}

#[tokio::test]
async fn clients_that_pipeline_and_never_read_neither_fill_it_nor_keep_it_from_ending() {
    let mut limits = Limits::default();
    (limits.connections, limits.patience) = (2, Duration::from_millis(20));
    limits.stop = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let auth = ForwardAuth::new(VerifyLayer::new(verifier()));
    let server = tokio::spawn(auth.serve_within(limits, listener, async { drop(stopped.await) }));
    let filling = (fill(address).await, fill(address).await);
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(QUESTION).await.unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    stop.send(()).unwrap();
    server.await.unwrap();
    drop(filling);
}
