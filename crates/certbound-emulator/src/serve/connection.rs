//! Code that several ports share: a stream that can be reset, and the bodies of requests and responses.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use certbound_serve::BodyError;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::emulator::MAX_BODY;
use crate::fault::FaultEffect;

/// Reads the whole body.
///
/// # Errors
/// The answer to send instead: 413 for a body above the limit, 408 for a slow body, 400 for any other error of the
/// body.
pub(super) async fn whole(
    request: Request<certbound_serve::Body>,
) -> Result<Request<Bytes>, Response<ResponseBody>> {
    let (head, body) = request.into_parts();
    let status = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => return Ok(Request::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => StatusCode::PAYLOAD_TOO_LARGE,
        Err(error) => match error.downcast_ref() {
            Some(BodyError::Slow) => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        },
    };
    let (method, path) = (&head.method, head.uri.path());
    tracing::warn!(%method, path, status = status.as_u16(), "a request was refused, because its body could not be read");
    Err(last(status))
}

/// Returns an empty answer. An HTTP/1.1 connection closes after this answer, because the rest of the request was not
/// read. With HTTP/2 the rest of the request is ignored.
pub(super) fn last(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Carries out the part of a fault that the transport has to carry out. `reset` is the switch of the connection's
/// [`Resettable`].
pub(super) async fn carry_out(
    response: Response<Bytes>,
    reset: &AtomicBool,
) -> io::Result<Response<ResponseBody>> {
    match response.extensions().get::<FaultEffect>().copied() {
        Some(FaultEffect::Reset) => {
            reset.store(true, Ordering::SeqCst);
            return Err(io::Error::from(io::ErrorKind::ConnectionReset));
        }
        Some(FaultEffect::TruncateBody(length)) => return Ok(ResponseBody::truncated(response, length)),
        Some(FaultEffect::Delay(time)) => tokio::time::sleep(time).await,
        None => {}
    }
    Ok(response.map(ResponseBody::whole))
}

/// Removes the body of an answer to HEAD, and keeps the length of the body in a header (RFC 9110, section 9.3.2). The
/// HTTP library does this for HTTP/1.1 only. With HTTP/2 a client treats a body as an error.
pub(super) fn without_body(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
    response.map(|_| ResponseBody::whole(Bytes::new()))
}

/// A body that the server sends whole, in pieces, or in part.
pub(super) struct ResponseBody {
    bytes: Option<Bytes>,
    more: Option<Box<dyn Iterator<Item = Bytes> + Send>>,
    broken: Break,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Break {
    Never,
    AfterFlush,
    Now,
}

impl ResponseBody {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), more: None, broken: Break::Never }
    }

    /// Returns a body of pieces. Each piece is sent before the next piece is made.
    pub(super) fn in_pieces(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self { bytes: None, more: Some(Box::new(pieces)), broken: Break::Never }
    }

    /// Returns a response that announces the whole body but sends only its first `length` bytes.
    pub(super) fn truncated(response: Response<Bytes>, length: usize) -> Response<Self> {
        let mut response = response.map(|bytes| (bytes.len(), bytes.slice(..length.min(bytes.len()))));
        let announced = HeaderValue::from(response.body().0);
        response.headers_mut().insert(CONTENT_LENGTH, announced);
        response.map(|(_, bytes)| Self { bytes: Some(bytes), more: None, broken: Break::AfterFlush })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(bytes) = self.more.as_mut().and_then(Iterator::next) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.broken {
            Break::Never => Poll::Ready(None),
            Break::AfterFlush => {
                // This body returns `Pending` once, so that hyper writes its buffered data. This works with HTTP/2 too,
                // because one task polls the connection and its requests in turn.
                self.broken = Break::Now;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Break::Now => Poll::Ready(Some(Err(io::Error::other("a fault truncates this body")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && self.more.is_none() && self.broken == Break::Never
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.bytes, self.broken) {
            (bytes, Break::Never) if self.more.is_none() => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            _ => SizeHint::default(),
        }
    }
}

/// A TCP stream that can end in a reset.
pub(super) struct Resettable {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Resettable {
    /// Returns the stream and a switch. If the switch is true, the stream ends in a reset.
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<AtomicBool>) {
        let reset = Arc::new(AtomicBool::new(false));
        (Self { stream, reset: Arc::clone(&reset) }, reset)
    }
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            // If this fails, the connection is closed without a reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
