//! Each limit, tested to the exact time: streams are in memory, and the clock advances only when every task waits.
#![expect(clippy::unwrap_used, reason = "tests")]

mod http2;
mod listening;
mod places;
mod reading;
mod sockets;
mod stopping;
mod writing;

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use certbound_serve::{Body, Connection, Limits, Listener, serve};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// The length of the response to `/large`.
const LARGE: usize = 1024 * 1024;

/// A listener whose connections come from the test.
struct Memory(mpsc::UnboundedReceiver<io::Result<DuplexStream>>);

impl Listener for Memory {
    type Stream = DuplexStream;
    type Peer = ();

    async fn accept(&mut self) -> io::Result<(DuplexStream, ())> {
        match self.0.recv().await {
            Some(stream) => Ok((stream?, ())),
            None => std::future::pending().await,
        }
    }
}

struct Server {
    clients: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(limits: Limits) -> Self {
        Self::start_with(limits, |stream, connection| async move {
            let _ = connection.http1(stream, answer).await;
        })
    }

    fn start_with<F: Future<Output = ()> + Send + 'static>(
        limits: Limits,
        mut handle: impl FnMut(DuplexStream, Connection) -> F + Send + 'static,
    ) -> Self {
        let (clients, listener) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let task = tokio::spawn(async move {
            serve(Memory(listener), limits, stopped, |stream, (), connection| handle(stream, connection))
                .await;
        });
        Self { clients, stop: Some(stop), task }
    }

    /// Connects a client. The buffer between client and server has 1 KiB.
    fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(1024);
        self.clients.send(Ok(server)).unwrap();
        client
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

/// The responses: `/` its path; `/body` the request's body; `/large` a mebibyte; `/never` no response.
async fn answer(request: Request<Body>) -> Result<Response<Full<Bytes>>, io::Error> {
    let path = request.uri().path().to_owned();
    let body = match path.as_str() {
        "/never" => std::future::pending().await,
        "/large" => Bytes::from(vec![b'a'; LARGE]),
        "/body" => match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => Bytes::from(error.to_string()),
        },
        _ => Bytes::from(path),
    };
    Ok(Response::new(Full::new(body)))
}

fn limits() -> Limits {
    Limits::default()
}

fn places(connections: usize) -> Limits {
    let mut limits = Limits::default();
    limits.connections = connections;
    limits
}

/// Reads one response and returns its body. The body must be shorter than the buffer between client and server.
async fn one_answer(client: &mut DuplexStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    client.read_exact(&mut body).await?;
    Ok(String::from_utf8(body).unwrap())
}

async fn ask(client: &mut DuplexStream) -> io::Result<String> {
    client.write_all(GET).await?;
    one_answer(client).await
}

/// Waits for `time`. The paused clock advances once every task waits.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Reads until the server closes. Returns how long that took and what was read.
async fn closes(client: &mut (impl AsyncRead + Unpin)) -> (Duration, String) {
    let (before, mut rest) = (Instant::now(), Vec::new());
    let _ = client.read_to_end(&mut rest).await;
    (before.elapsed(), String::from_utf8_lossy(&rest).into_owned())
}
