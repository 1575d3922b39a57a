//! The body of a response: the resource's own, or that of a refusal.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

/// The resource's body, or that of a refusal.
#[derive(Debug)]
pub struct AnswerBody<R>(Kind<R>);

#[derive(Debug)]
enum Kind<R> {
    Inner(Pin<Box<R>>),
    Refusal(Full<Bytes>),
}

impl<R> AnswerBody<R> {
    pub(super) fn inner(body: R) -> Self {
        Self(Kind::Inner(Box::pin(body)))
    }

    pub(super) fn refusal(body: Bytes) -> Self {
        Self(Kind::Refusal(Full::new(body)))
    }
}

impl<R: Body<Data = Bytes>> Body for AnswerBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match &mut self.get_mut().0 {
            Kind::Inner(body) => body.as_mut().poll_frame(cx),
            Kind::Refusal(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Inner(body) => body.is_end_stream(),
            Kind::Refusal(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Inner(body) => body.size_hint(),
            Kind::Refusal(body) => body.size_hint(),
        }
    }
}
