//! A request within its span, with its observers.

use std::time::Duration;

use http::Request;
use tracing::{Instrument as _, Span};

use super::Answer;
use crate::clock::Clock;
use crate::error::TransportError;
use crate::observe::{CompletedRequest, Observers, RequestTo};
use crate::span::{self, CANCELLED, Target};

/// One attempt of a request that is sent. Its span is open.
pub(crate) struct Sending<'a> {
    target: Target<'a>,
    attempt: u32,
    span: Span,
    observers: Observers<'a>,
    clock: &'a dyn Clock,
    /// The monotonic time of the start. It is zero if there is no observer.
    started: Duration,
    has_ended: bool,
}

impl<'a> Sending<'a> {
    /// Opens the span of `request`. The first attempt has the number 1.
    pub(crate) fn open<B>(
        target: Target<'a>,
        (request, attempt): (&Request<B>, u32),
        observers: Observers<'a>,
        clock: &'a dyn Clock,
    ) -> Self {
        let span = span::request(target, request, attempt);
        let started = if observers.is_empty() { Duration::ZERO } else { clock.monotonic() };
        Self { target, attempt, span, observers, clock, started, has_ended: false }
    }

    /// Runs `send` within the span of the request. The span and the observers get the result.
    pub(crate) async fn run(
        mut self,
        send: impl Future<Output = Result<Answer, TransportError>>,
    ) -> Result<Answer, TransportError> {
        let sent = send.instrument(self.span.clone()).await;
        self.has_ended = true;
        let result = match &sent {
            Ok(answer) => Ok(answer.response.status().as_u16()),
            Err(error) => Err(error.code()),
        };
        match result {
            Ok(status) => span::answered(&self.span, status),
            Err(code) => span::failed(&self.span, code),
        }
        self.completed(result);
        sent
    }

    fn completed(&self, result: Result<u16, &str>) {
        let Some(to) = observed(self.target).filter(|_| !self.observers.is_empty()) else { return };
        let request = CompletedRequest {
            to,
            leg: self.target.leg(),
            region: self.target.region(),
            attempt: self.attempt,
            result,
            took: self.clock.monotonic().saturating_sub(self.started),
        };
        self.observers.each(|observer| observer.after_request(&request));
    }
}

/// Records a cancellation if the future of the request was dropped without a result.
impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            span::failed(&self.span, CANCELLED);
            self.completed(Err(CANCELLED));
        }
    }
}

/// Returns the kind of server for observers. Observers do not see requests to resources.
fn observed(target: Target<'_>) -> Option<RequestTo> {
    match target {
        Target::TokenService { .. } => Some(RequestTo::TokenService),
        Target::Platform => Some(RequestTo::Platform),
        Target::Discovery { .. } => Some(RequestTo::Discovery),
        Target::Resource => None,
    }
}
