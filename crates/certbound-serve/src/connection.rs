//! One connection: its limits, and HTTP/1.1 on its stream. The module `http2` adds HTTP/2.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::accept::Stage;
use crate::activity::Phase;
use crate::body::{Answer, Body, OpenRequest, Protocol};
use crate::guarded::{Guarded, closed};
use crate::limits::Limits;
use crate::places::Handle;

/// The smallest buffer that hyper accepts; hyper panics at a smaller buffer.
pub(crate) const LEAST_HEAD_BYTES: usize = 8 * 1024;

/// The time for the first request of a new connection after the server began to stop. A client usually sends its
/// request right after it has connected, so the request may be on its way.
pub(crate) const FIRST_REQUEST: Duration = Duration::from_millis(250);

/// The place and the limits of one connection.
///
/// A handler gets this value together with a stream. The handler serves HTTP on this stream, or on the stream that a
/// TLS handshake or an HTTP upgrade returned. A handler can serve HTTP several times, one after the other. No other
/// protocol can follow HTTP/2: its requests cannot be upgraded, and RFC 9113, section 9.2.1, forbids a second
/// handshake.
pub struct Connection {
    pub(crate) handle: Handle,
    pub(crate) stage: watch::Receiver<Stage>,
}

impl Connection {
    pub(crate) fn new(handle: Handle, stage: watch::Receiver<Stage>) -> Self {
        Self { handle, stage }
    }

    /// The limits of this connection.
    pub fn limits(&self) -> &Limits {
        &self.handle.places().limits
    }

    /// Runs a step that precedes HTTP, such as a TLS handshake, for at most [`Limits::head`].
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the step took longer; [`io::ErrorKind::ConnectionAborted`] if the connection was
    /// closed to make room for another connection.
    pub async fn handshake<F: Future>(&self, handshake: F) -> io::Result<F::Output> {
        self.enter(Phase::Head)?;
        let timed = tokio::time::timeout(self.limits().head, handshake).await;
        timed.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))
    }

    /// Serves HTTP/1.1 on `stream`. The future ends when one side closes the connection, when a limit is exceeded, or
    /// when the server stops and the request in progress is answered. It also ends when a request is upgraded
    /// (`hyper::upgrade`).
    ///
    /// # Errors
    /// Returns an error if the connection broke, a limit was exceeded, the service failed, or the connection was closed
    /// to make room for another connection. The stream is then closed, and the caller can only log the error.
    pub async fn http1<T, S, F, B, E>(&self, stream: T, service: S) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Fn(Request<Body>) -> F,
        F: Future<Output = Result<Response<B>, E>>,
        B: http_body::Body + Unpin + 'static,
        B::Error: Error + Send + Sync + 'static,
        E: Error + Send + Sync + 'static,
    {
        self.enter(Phase::New)?;
        let service = service_fn(|request| answered(self.begin(Protocol::Http1, &service, request)));
        let stream = TokioIo::new(Guarded::new(stream, self.handle.clone()));
        // hyper's own timer is switched off: it would count idle time as part of the next head.
        let mut http = http1::Builder::new();
        http.header_read_timeout(None).max_buf_size(self.limits().head_bytes.max(LEAST_HEAD_BYTES));
        let mut http = std::pin::pin!(http.serve_connection(stream, service).with_upgrades());
        let mut stage = self.stage.clone();
        tokio::select! {
            // The connection is polled first, so that a received request is read before the shutdown.
            biased;
            ended = http.as_mut() => return ended.map_err(io::Error::other),
            // `wait_for` fails if the server was dropped. `serve` then ends the task that runs this code.
            _ = stage.wait_for(|stage| *stage != Stage::Running) => {}
        }
        if self.handle.activity().moment().phase == Phase::New {
            tokio::select! {
                biased;
                ended = http.as_mut() => return ended.map_err(io::Error::other),
                () = tokio::time::sleep(FIRST_REQUEST) => {}
            }
        }
        http.as_mut().graceful_shutdown();
        http.await.map_err(io::Error::other)
    }

    pub(crate) fn enter(&self, phase: Phase) -> io::Result<()> {
        if self.handle.enter(phase) { Ok(()) } else { Err(closed()) }
    }

    /// Gives a request to the service. A connection that was chosen to be closed must not begin a response.
    pub(crate) fn begin<F>(
        &self,
        protocol: Protocol,
        service: impl Fn(Request<Body>) -> F,
        request: Request<Incoming>,
    ) -> io::Result<(OpenRequest, F)> {
        let open = OpenRequest::begin(self.handle.clone(), protocol).ok_or_else(closed)?;
        Ok((open, service(request.map(|incoming| Body::new(incoming, self.handle.clone())))))
    }
}

/// Awaits the response to a request that was begun.
pub(crate) async fn answered<F, B, E>(begun: io::Result<(OpenRequest, F)>) -> io::Result<Response<Answer<B>>>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Error + Send + Sync + 'static,
{
    let (open, answer) = begun?;
    let answer = answer.await.map_err(io::Error::other)?;
    Ok(answer.map(|body| Answer::new(body, open)))
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("limits", self.limits()).finish_non_exhaustive()
    }
}
