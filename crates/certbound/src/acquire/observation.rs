//! The span of an acquisition, and its observers.

use std::sync::Arc;
use std::time::Duration;

use certbound_core::region::Region;
use certbound_core::time::UnixTime;
use tracing::Span;

use super::Acquisition;
use super::headers::{Api, RefreshReason};
use super::issuer::Issuer;
use crate::cache::{Entry, Kind, Loaded, Obtained, Report, Source};
use crate::certificate::BindingCertificate;
use crate::clock::Clock;
use crate::correlation::CorrelationId;
use crate::error::{Error, Leg};
use crate::observe::{AcquisitionResult, CompletedAcquisition, Observer, Observers, Parts, TokenOrigin};
use crate::span::{self, CANCELLED, FAILURE, SUCCESS};

/// Observes one acquisition from its start to its result, or until its future is dropped. The value owns its data,
/// because the acquisition is moved into a load.
pub(super) struct Observation {
    kind: Kind,
    leg: Option<Leg>,
    id: CorrelationId,
    api: Api,
    /// The reason is `None` until a look-up finds no fresh token in the cache.
    reason: Option<RefreshReason>,
    /// The span is disabled until [`Observation::open`], because a cache hit has no span.
    span: Span,
    observers: [Option<Arc<dyn Observer>>; 2],
    client: Arc<str>,
    certificate_expires_at: Option<UnixTime>,
    clock: Arc<dyn Clock>,
    /// The monotonic time of the start. It is zero if there is no observer.
    started: Duration,
    /// Whether the acquisition is a refresh ahead. Observers do not see the end of a refresh ahead, because no caller
    /// waits for it.
    is_ahead: bool,
    has_ended: bool,
}

impl Observation {
    pub(super) fn of<I: Issuer>(acquisition: &Acquisition<I>, id: CorrelationId) -> Self {
        let context = acquisition.issuer.context();
        let observers = [acquisition.options.observer.clone(), context.observer.clone()];
        let is_observed = observers.iter().any(Option::is_some);
        Self {
            kind: acquisition.kind,
            leg: acquisition.issuer.leg(),
            id,
            api: acquisition.issuer.api(&acquisition.options),
            reason: None,
            span: Span::none(),
            observers,
            client: Arc::clone(&context.name),
            certificate_expires_at: None,
            clock: Arc::clone(&context.clock),
            started: if is_observed { context.clock.monotonic() } else { Duration::ZERO },
            is_ahead: acquisition.ahead,
            has_ended: false,
        }
    }

    /// Opens the span, unless it is open.
    pub(super) fn open(&mut self, scope: &str) {
        if self.span.is_none() {
            self.span = span::acquisition(self.kind.token_type(), self.api.as_str(), scope, self.id);
        }
    }

    /// Opens the span of a refresh ahead, which `cause` started.
    pub(super) fn open_ahead(&mut self, scope: &str, cause: Span) {
        self.open(scope);
        self.span.record("certbound.ahead", true);
        self.set_reason(RefreshReason::Proactive);
        self.span.follows_from(&cause);
    }

    /// Sets the reason why a token is requested. The span must be open.
    pub(super) fn set_reason(&mut self, reason: RefreshReason) {
        self.reason = Some(reason);
        self.span.record("certbound.refresh_reason", reason.as_str());
    }

    /// Sets the certificate that the acquisition chose.
    pub(super) fn set_certificate(&mut self, certificate: Option<&BindingCertificate>) {
        self.certificate_expires_at = certificate.map(|certificate| certificate.chain().not_after());
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the result and returns it.
    pub(super) fn end(mut self, result: Result<Loaded, Error>) -> Result<Loaded, Error> {
        self.has_ended = true;
        match &result {
            Ok((entry, obtained)) => {
                let (origin, region) = (origin_of(entry, obtained), entry.origin.region.as_ref());
                self.span.record("certbound.outcome", SUCCESS);
                self.span.record("certbound.source", origin.as_str());
                self.record_region(region);
                self.observed(AcquisitionResult::Token(origin), region, obtained.report());
            }
            Err(error) => {
                self.failed(error);
                self.observed(AcquisitionResult::Error(error), error.region(), None);
            }
        }
        result
    }

    /// Records a hit in the span. The span is open only if the certificate had to be requested first. The cache has
    /// counted the hit, so observers do not see it.
    pub(super) fn end_hit(mut self) {
        self.has_ended = true;
        self.span.record("certbound.outcome", SUCCESS);
        self.span.record("certbound.source", TokenOrigin::Cache.as_str());
    }

    /// Records the result of a refresh ahead, for which no caller waits.
    pub(super) fn end_refresh(mut self, result: Result<(), Error>) -> Result<(), Error> {
        self.has_ended = true;
        match &result {
            Ok(()) => {
                self.span.record("certbound.outcome", SUCCESS);
            }
            Err(error) => self.failed(error),
        }
        result
    }

    fn failed(&self, error: &Error) {
        self.span.record("certbound.outcome", FAILURE);
        span::record_error(&self.span, error);
        self.record_region(error.region());
    }

    fn record_region(&self, region: Option<&Region>) {
        if let Some(region) = region {
            self.span.record("certbound.region", region.as_str());
        }
    }

    fn observed(&self, result: AcquisitionResult<'_>, region: Option<&Region>, report: Option<&Report>) {
        let [of_call, of_client] = self.observers.each_ref().map(Option::as_ref);
        let observers = Observers::new(of_call, of_client);
        if observers.is_empty() {
            return;
        }
        let acquisition = CompletedAcquisition {
            client_id: &self.client,
            token_type: self.kind.token_type(),
            leg: self.leg,
            api: self.api.as_str(),
            refresh_reason: self.reason.map(RefreshReason::as_str),
            result,
            region,
            certificate_expires_at: self.certificate_expires_at,
            took: self.clock.monotonic().saturating_sub(self.started),
            parts: report.map(|report| Parts { http: report.http, leg1: report.leg1, cache: report.cache }),
        };
        observers.each(|observer| observer.after_acquisition(&acquisition));
    }
}

/// Records a cancellation if the caller has dropped the future of the acquisition, for example because of its own time
/// limit.
impl Drop for Observation {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.span.record("certbound.outcome", CANCELLED);
        if !self.is_ahead {
            self.observed(AcquisitionResult::Cancelled, None, None);
        }
    }
}

fn origin_of(entry: &Entry, obtained: &Obtained) -> TokenOrigin {
    match obtained.source() {
        Source::Cache => TokenOrigin::Cache,
        Source::Store => TokenOrigin::Store,
        Source::Joined => TokenOrigin::Joined,
        // Only a request to a platform names a bare resource instead of a scope.
        Source::Service if entry.origin.by_resource => TokenOrigin::Platform,
        Source::Service => TokenOrigin::TokenService,
    }
}
