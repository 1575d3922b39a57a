//! The service in front of the resource.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use tower_service::Service;

use super::VerifyLayer;

/// The body of a response: the body of the resource's response, or the body of a refusal.
pub type AnswerBody<R> = Either<R, Full<Bytes>>;

/// A service behind a [`VerifyLayer`].
#[derive(Clone)]
pub struct Verify<S> {
    inner: S,
    layer: VerifyLayer,
}

impl<S> Verify<S> {
    pub(super) fn new(inner: S, layer: VerifyLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S, B, R> Service<Request<B>> for Verify<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Send,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // `poll_ready` was called on the present `self.inner`, so this value handles the request. The clone is for the
        // next request.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let layer = self.layer.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match layer.verify(&parts).await {
                Ok(verified) => {
                    parts.extensions.insert(verified);
                    let answer = inner.call(Request::from_parts(parts, body)).await?;
                    Ok(answer.map(Either::Left))
                }
                Err(refusal) => Ok(layer.answer(&refusal).map(|body| Either::Right(Full::new(body)))),
            }
        })
    }
}
