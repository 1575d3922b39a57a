//! HTTP/2 on the stream of a connection: several requests at once.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::accept::Stage;
use crate::activity::Phase;
use crate::body::{Body, Protocol};
use crate::connection::{Connection, FIRST_REQUEST, LEAST_HEAD_BYTES, answered};
use crate::guarded::Guarded;

/// The maximum number of requests that the client has reset and the service has not seen. With more of these requests,
/// hyper closes the connection. Otherwise a client that resets every request could open any number of requests
/// (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

impl Connection {
    /// Serves HTTP/2 on `stream`. The future ends when one side closes the connection, when a limit is exceeded, or
    /// when the server stops and the open requests are answered.
    ///
    /// One task serves all requests of the connection. Client and server must have agreed on HTTP/2 before this call,
    /// for example by ALPN (RFC 7301).
    ///
    /// # Errors
    /// Returns an error if the connection broke, a limit was exceeded, the service failed for one request, or the
    /// connection was closed to make room for another connection. The stream and its requests are then closed, and the
    /// caller can only log the error.
    pub async fn http2<T, S, F, B, E>(&self, stream: T, service: S) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Fn(Request<Body>) -> F,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: http_body::Body + Unpin + Send + 'static,
        B::Data: Send,
        B::Error: Error + Send + Sync + 'static,
        E: Error + Send + Sync + 'static,
    {
        self.enter(Phase::New)?;
        let (failed, mut failure) = mpsc::channel(1);
        let service = service_fn(|request: Request<Incoming>| {
            let (answer, failed) = (answered(self.begin(Protocol::Http2, &service, request)), failed.clone());
            async move {
                match answer.await {
                    Ok(answer) => Ok::<_, Infallible>(answer),
                    Err(error) => {
                        // If the channel is full, the connection already ends because of an earlier failure. On an
                        // error hyper would reset only the stream of this request, so this future never returns the
                        // error.
                        let _ = failed.try_send(error);
                        std::future::pending().await
                    }
                }
            }
        });
        let limits = self.limits();
        let head_bytes = limits.head_bytes.max(LEAST_HEAD_BYTES);
        let (new, mut begun) = mpsc::unbounded_channel();
        let mut http = http2::Builder::new(ToConnection(new));
        http.timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams.max(1))
            .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .keep_alive_interval(limits.ping)
            .keep_alive_timeout(limits.ping);
        let stream = TokioIo::new(Guarded::new(stream, self.handle.clone()));
        let mut http = std::pin::pin!(http.serve_connection(stream, service));
        let mut stage = self.stage.clone();
        let is_new = || self.handle.activity().moment().phase == Phase::New;
        let mut stopped = std::pin::pin!(async {
            // `wait_for` fails if the server was dropped. `serve` then ends the task that runs this code.
            let _ = stage.wait_for(|stage| *stage != Stage::Running).await;
            if is_new() {
                tokio::time::sleep(FIRST_REQUEST).await;
            }
        });
        let (mut open, mut ending) = (Vec::<Answering>::new(), false);
        loop {
            // The connection is polled before its requests, so the data of a response is sent before its request is
            // polled again.
            let served = poll_fn(|context| {
                let ended = http.as_mut().poll(context);
                while let Poll::Ready(Some(request)) = begun.poll_recv(context) {
                    open.push(request);
                }
                open.retain_mut(|request| request.as_mut().poll(context).is_pending());
                ended
            });
            let unused = self.handle.unused(if ending { limits.write } else { limits.idle });
            tokio::select! {
                biased;
                Some(error) = failure.recv() => return Err(error),
                ended = served => return ended.map_err(io::Error::other),
                () = &mut stopped, if !ending => {}
                () = unused => if ending {
                    let late = "the client did not end a connection that it was told to end";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, late));
                },
            }
            if is_new() {
                // The client has sent nothing, so the server sends no GOAWAY.
                return Ok(());
            }
            ending = true;
            http.as_mut().graceful_shutdown();
        }
    }
}

/// The future in which hyper awaits the response to one request and sends it.
type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Gives the requests to the task of their connection. All of them therefore end when the connection ends.
#[derive(Clone)]
struct ToConnection(mpsc::UnboundedSender<Answering>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for ToConnection {
    fn execute(&self, request: F) {
        // `send` fails only if the connection has ended. The request then ends too.
        let _ = self.0.send(Box::pin(request));
    }
}
