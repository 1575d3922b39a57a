//! A request within its span.

use tracing::{Instrument as _, Span};

use super::Answer;
use crate::error::TransportError;
use crate::span;

/// Runs `send` within the span of its request, and records the result there.
pub(crate) async fn traced(
    span: Span,
    send: impl Future<Output = Result<Answer, TransportError>>,
) -> Result<Answer, TransportError> {
    let sent = send.instrument(span.clone()).await;
    match &sent {
        Ok(answer) => span::answered(&span, answer.response.status().as_u16()),
        Err(error) => span::failed(&span, error.code()),
    }
    sent
}
