//! The span of an acquisition.

use tracing::Span;

use crate::cache::{Kind, Loaded, Source};
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::span::{self, FAILURE, SUCCESS};

/// Observes one acquisition from its start to its result.
pub(super) struct Observation {
    kind: Kind,
    id: CorrelationId,
    /// It is disabled until [`Observation::open`], because a cache hit has no span.
    span: Span,
}

impl Observation {
    pub(super) fn new(kind: Kind, id: CorrelationId) -> Self {
        Self { kind, id, span: Span::none() }
    }

    /// Opens the span, unless it is open.
    pub(super) fn open(&mut self, scope: &str) {
        if self.span.is_none() {
            self.span = span::acquisition(self.kind.token_type(), scope, self.id);
        }
    }

    /// Opens the span of a refresh ahead, which `cause` started.
    pub(super) fn open_ahead(&mut self, scope: &str, cause: Span) {
        self.open(scope);
        self.span.record("certbound.ahead", true);
        self.span.follows_from(&cause);
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the result and returns it.
    pub(super) fn end(self, result: Result<Loaded, Error>) -> Result<Loaded, Error> {
        match &result {
            Ok((entry, obtained)) => {
                self.span.record("certbound.outcome", SUCCESS);
                self.span.record("certbound.source", source_of(obtained.source, entry.origin.by_resource));
                if let Some(region) = entry.origin.region.as_ref() {
                    self.span.record("certbound.region", region.as_str());
                }
            }
            Err(error) => self.failed(error),
        }
        result
    }

    /// Records the result of a refresh ahead, for which no caller waits.
    pub(super) fn end_refresh(self, result: Result<(), Error>) -> Result<(), Error> {
        match &result {
            Ok(()) => drop(self.span.record("certbound.outcome", SUCCESS)),
            Err(error) => self.failed(error),
        }
        result
    }

    fn failed(&self, error: &Error) {
        self.span.record("certbound.outcome", FAILURE);
        span::record_error(&self.span, error);
        if let Some(region) = error.region() {
            self.span.record("certbound.region", region.as_str());
        }
    }
}

/// Returns the name of a source, as spans and metrics name it. `by_platform` tells the platform of a managed identity from
/// the token service.
fn source_of(source: Source, by_platform: bool) -> &'static str {
    match source {
        Source::Cache => "cache",
        Source::Store => "store",
        Source::Joined => "joined",
        Source::Service if by_platform => "platform",
        Source::Service => "token_service",
    }
}
