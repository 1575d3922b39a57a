//! The body of a request, which has a time limit, and the body of a response, whose end changes the phase.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::activity::Phase;
use crate::guarded::Alarm;
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
}

/// The reason why the body of a request could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Reading took longer than [`Limits::body`](crate::Limits::body). The usual response is 408.
    #[error("reading the body of the request took too long")]
    Slow,
    /// The connection ended inside the body, or the body is malformed (RFC 9112, section 6).
    #[error("the body of the request ended early: {0}")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

impl Body {
    pub(crate) fn new(incoming: Incoming, handle: Handle) -> Self {
        Self { incoming, handle, alarm: Alarm::default(), due: None }
    }
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
        // The time is checked before the next frame is read, so that a body that arrives in small pieces exceeds it
        // too.
        if self.alarm.is_over(due, context) {
            return Poll::Ready(Some(Err(BodyError::Slow)));
        }
        let frame = Pin::new(&mut self.incoming).poll_frame(context);
        if frame.is_pending() {
            self.handle.change_phase(Phase::Answering, Phase::Body);
            self.handle.waits_for_client();
        } else {
            self.handle.change_phase(Phase::Body, Phase::Answering);
        }
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
        self.handle.change_phase(Phase::Body, Phase::Answering);
    }
}

/// The body of a response.
pub(crate) struct Answer<B> {
    body: B,
    _end: AnswerEnd,
}

/// A value that is dropped once hyper has read the whole body of a response, or has given the body up.
pub(crate) struct AnswerEnd(pub(crate) Handle);

impl<B> Answer<B> {
    pub(crate) fn new(body: B, end: AnswerEnd) -> Self {
        Self { body, _end: end }
    }
}

impl<B: http_body::Body + Unpin> http_body::Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerEnd {
    fn drop(&mut self) {
        self.0.enter(Phase::Answered);
    }
}
