//! The body of a request, which has a time limit, and the body of a response. Both bodies record the times in which
//! they wait for the client.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::activity::Phase;
use crate::guarded::Alarm;
use crate::load::Counted;
use crate::places::Handle;

/// The body of a request. A read fails once [`Limits::body`] has passed since the first read.
///
/// The body has no size limit: the service must set a limit.
///
/// [`Limits::body`]: crate::Limits::body
pub struct Body {
    incoming: Incoming,
    handle: Handle,
    alarm: Alarm,
    due: Option<Instant>,
    waits: bool,
}

/// The reason why the body of a request could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Reading took longer than [`Limits::body`](crate::Limits::body). The usual response is 408.
    #[error("reading the body of the request took too long")]
    Slow,
    /// The connection ended inside the body, or the body is malformed (RFC 9112, section 6; RFC 9113, section 8.1.1).
    #[error("the body of the request is incomplete or malformed: {0}")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

impl Body {
    pub(crate) fn new(incoming: Incoming, handle: Handle) -> Self {
        Self { incoming, handle, alarm: Alarm::default(), due: None, waits: false }
    }

    fn set_waits(&mut self, waits: bool) {
        if std::mem::replace(&mut self.waits, waits) != waits {
            self.handle.change_open(|open| count(&mut open.receiving, waits));
        }
    }
}

/// Adds one to a number of requests, or subtracts one.
fn count(number: &mut u32, more: bool) {
    // A service may drop the body of a request after the response. In this case the request is no longer counted.
    *number = if more { *number + 1 } else { number.saturating_sub(1) };
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let limit = self.handle.places().limits.body;
        let due = *self.due.get_or_insert_with(|| Instant::now() + limit);
        // The time is checked before each read of a frame, so that the limit also applies to a body in many small
        // pieces.
        if self.alarm.is_over(due, context) {
            return Poll::Ready(Some(Err(BodyError::Slow)));
        }
        let frame = Pin::new(&mut self.incoming).poll_frame(context);
        self.set_waits(frame.is_pending());
        let frame = ready!(frame);
        Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::Broken(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // The service does not wait for the rest of the body any more.
        self.set_waits(false);
    }
}

/// The body of a response.
pub(crate) struct Answer<B> {
    body: B,
    request: OpenRequest,
}

/// One open request. The value is dropped once hyper has read the whole body of the response or has dropped the body.
pub(crate) struct OpenRequest {
    handle: Handle,
    protocol: Protocol,
    /// Whether the client must read data of the response before hyper reads more of the body.
    waits: bool,
    _counted: Counted,
}

/// The version of HTTP on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl<B> Answer<B> {
    pub(crate) fn new(body: B, request: OpenRequest) -> Self {
        Self { body, request }
    }
}

impl<B: http_body::Body + Unpin> http_body::Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.request.set_waits(false);
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.request.set_waits(matches!(frame, Poll::Ready(Some(Ok(_)))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl OpenRequest {
    /// Begins a request. Returns `None` if the connection was chosen to be closed.
    pub(crate) fn begin(handle: Handle, protocol: Protocol) -> Option<Self> {
        let begun = handle.activity().begin(handle.places().now());
        let counted = handle.places().load.request();
        begun.then_some(Self { handle, protocol, waits: false, _counted: counted })
    }

    fn set_waits(&mut self, waits: bool) {
        // With HTTP/1.1, hyper waits for the client in a write, which has its own limit.
        if self.protocol == Protocol::Http2 && std::mem::replace(&mut self.waits, waits) != waits {
            self.handle.change_open(|open| count(&mut open.sending, waits));
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.set_waits(false);
        match self.protocol {
            Protocol::Http1 => {
                self.handle.enter(Phase::Answered);
            }
            Protocol::Http2 => self.handle.change_open(|open| count(&mut open.all, false)),
        }
    }
}
