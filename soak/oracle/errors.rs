//! The injected faults that explain an error.

use certbound::Error;
use certbound::error::{PlatformError, RequestTarget, TransportError};

use super::wire::{self, Cause, SLOW, UNDER_WAY};
use super::{Call, State};
use crate::clock::{Moment, fast};
use crate::subjects::Subject;

/// An error that waits for the journal.
pub(super) struct Unexplained {
    pub(super) call: Call,
    pub(super) at: Moment,
    pub(super) error: Error,
}

/// Returns the kind of the error, if an injected fault explains it.
///
/// # Errors
/// The reason why no fault explains it.
pub(super) fn explanation(
    failed: &Unexplained,
    state: &State,
    subjects: &[Subject],
) -> Result<&'static str, &'static str> {
    let Unexplained { call, at, error } = failed;
    let was_slow = state.delay(call.began) >= SLOW;
    let subject = &subjects[call.wanted.subject];
    if subject.is_calm() && !was_slow {
        return Err("the requests of this client have no faults");
    }
    if !error.is_transient() {
        return Err("every injected fault is transient");
    }
    let id = error.target().map(|target: &RequestTarget| target.correlation_id.as_str()).unwrap_or_default();
    let had = |cause: Cause| state.wire.had(id, cause);
    let (kind, is_explained) = match error {
        Error::Throttled { .. } => ("throttled", had(Cause::AskedToWait)),
        Error::Refused { answer, .. } => match answer.retry_after {
            Some(_) => ("429 or 503 with Retry-After", had(Cause::AskedToWait)),
            None => ("429 or 503", had(Cause::Refused(answer.status))),
        },
        Error::Transport { cause, .. } => match cause {
            TransportError::Connect { .. }
            | TransportError::Proxy { .. }
            | TransportError::ProxyRefused { .. } => {
                // The call may have joined a request that began a little earlier.
                let from =
                    call.began.saturating_sub(UNDER_WAY + state.delay(call.began.saturating_sub(UNDER_WAY)));
                ("unreachable", error.region().is_some() && state.was_away(from, *at))
            }
            TransportError::TimedOut { .. } => ("no answer in time", had(Cause::Delayed) || was_slow),
            _ => ("connection reset or body truncated", had(Cause::Broken)),
        },
        // Errors of a platform name no request. Any fault of the platform in this time explains them.
        Error::Platform { what, .. } => {
            let wait = fast(wire::LONGEST_WAIT);
            let kind = match what {
                PlatformError::Throttled { .. } => "platform, throttled",
                _ => "platform",
            };
            (kind, state.wire.platform_had_fault(call.began.saturating_sub(wait), *at))
        }
        _ => ("other", false),
    };
    if is_explained { Ok(kind) } else { Err("the journal has no fault that causes this error") }
}
