//! The phase of a connection, and the start of the phase. The connection changes this state; [`Places`] reads it.
//!
//! [`Places`]: crate::places::Places

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Time since the server started, in milliseconds.
pub(crate) type Millis = u64;

/// The phases of a connection, in the order of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No byte of a first request has been read.
    New,
    /// A part of a request's head has been read, or the TLS handshake is in progress.
    Head,
    /// The service makes its response, or the response is being written.
    Answering,
    /// The service waits for the request's body.
    Body,
    /// The response is complete, but some bytes of it may not be written yet.
    Answered,
    /// The last response is written, and no byte of the next request has been read.
    Idle,
    /// The connection was chosen to be closed. This phase is final.
    Closed,
}

const PHASES: [Phase; 7] =
    [Phase::New, Phase::Head, Phase::Answering, Phase::Body, Phase::Answered, Phase::Idle, Phase::Closed];

/// A phase and its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) phase: Phase,
    pub(crate) since: Millis,
}

impl Moment {
    const BITS: u32 = 3;

    fn pack(self) -> u64 {
        (self.since << Self::BITS) | self.phase as u64
    }

    fn unpack(packed: u64) -> Self {
        // `packed` always comes from `pack`, so the index is valid. `Closed` is the safe default: it allows no
        // response.
        let phase = PHASES.get((packed & 0b111) as usize).copied().unwrap_or(Phase::Closed);
        Self { phase, since: packed >> Self::BITS }
    }
}

/// The time from which a connection may be closed to make room for a waiting connection. The smallest value is closed
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closable {
    /// The connection may be closed at once. The value is the time since which it is idle.
    Idle(Millis),
    /// The connection waits for its client, and may be closed from this time on.
    Waiting(Millis),
}

/// The state of one connection. The phase and its start change in one atomic step, so a connection that was chosen to
/// be closed never begins to answer a request.
#[derive(Debug)]
pub(crate) struct Activity {
    moment: AtomicU64,
    /// The time since which a write waits for the client, plus one. 0 if no write waits.
    stalled: AtomicU64,
}

impl Activity {
    pub(crate) fn new(now: Millis) -> Self {
        let moment = Moment { phase: Phase::New, since: now };
        Self { moment: AtomicU64::new(moment.pack()), stalled: AtomicU64::new(0) }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment::unpack(self.moment.load(SeqCst))
    }

    /// Replaces the moment by `next(moment)`. Returns false, and changes nothing, if the connection was closed.
    pub(crate) fn change(&self, next: impl Fn(Moment) -> Moment) -> bool {
        self.moment
            .fetch_update(SeqCst, SeqCst, |packed| {
                let moment = Moment::unpack(packed);
                (moment.phase != Phase::Closed).then(|| next(moment).pack())
            })
            .is_ok()
    }

    /// Closes the connection if its moment is still `seen`. Returns whether the connection was closed by this call.
    pub(crate) fn close(&self, seen: Moment) -> bool {
        let closed = Moment { phase: Phase::Closed, ..seen };
        self.moment.compare_exchange(seen.pack(), closed.pack(), SeqCst, SeqCst).is_ok()
    }

    /// Records that a write waits for the client. Returns true if no write waited before.
    pub(crate) fn stall(&self, now: Millis) -> bool {
        self.stalled.compare_exchange(0, now + 1, SeqCst, SeqCst).is_ok()
    }

    /// Records that no write waits.
    pub(crate) fn flow(&self) {
        self.stalled.store(0, SeqCst);
    }

    /// Returns the time from which this connection may be closed, and the moment from which the time was computed.
    /// Returns `None` if the connection is closed already, or while it waits for the service and not for the client.
    pub(crate) fn closable(&self, patience: Duration) -> Option<(Closable, Moment)> {
        let moment = self.moment();
        let stalled = self.stalled.load(SeqCst).checked_sub(1);
        let after = |since: Millis| Closable::Waiting(since.saturating_add(millis(patience)));
        let closable = match (moment.phase, stalled) {
            (Phase::Closed, _) => None,
            (_, Some(since)) => Some(after(since)),
            (Phase::Idle, None) => Some(Closable::Idle(moment.since)),
            (Phase::New | Phase::Head | Phase::Body, None) => Some(after(moment.since)),
            (Phase::Answering | Phase::Answered, None) => None,
        };
        closable.map(|closable| (closable, moment))
    }
}

/// Converts to milliseconds. Longer durations are limited to the largest 60-bit number.
pub(crate) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(u64::MAX >> (Moment::BITS + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn enter(activity: &Activity, phase: Phase, since: Millis) -> bool {
        activity.change(|_| Moment { phase, since })
    }

    #[test]
    fn a_moment_survives_packing() {
        for phase in PHASES {
            for since in [0, 1, 7, 1 << 40] {
                assert_eq!(Moment::unpack(Moment { phase, since }.pack()), Moment { phase, since });
            }
        }
    }

    #[test]
    fn an_idle_connection_goes_first_and_one_that_waits_for_the_service_never() {
        let activity = Activity::new(5);
        let now = |activity: &Activity| activity.closable(PATIENCE).map(|(closable, _)| closable);
        assert_eq!(now(&activity), Some(Closable::Waiting(1_005)));
        for (phase, expected) in [
            (Phase::Head, Some(Closable::Waiting(1_010))),
            (Phase::Answering, None),
            (Phase::Body, Some(Closable::Waiting(1_010))),
            (Phase::Answered, None),
            (Phase::Idle, Some(Closable::Idle(10))),
        ] {
            assert!(enter(&activity, phase, 10));
            assert_eq!(now(&activity), expected, "{phase:?}");
        }
        assert!(Closable::Idle(u64::MAX) < Closable::Waiting(0));
        // A write that waits for the client counts in every phase, from the time it began to wait.
        assert!(enter(&activity, Phase::Answering, 20));
        assert!(activity.stall(30) && !activity.stall(40));
        assert_eq!(now(&activity), Some(Closable::Waiting(1_030)));
        activity.flow();
        assert_eq!(now(&activity), None);
    }

    #[test]
    fn a_closed_connection_answers_nothing_and_one_that_went_on_is_not_closed() {
        let activity = Activity::new(0);
        let seen = activity.moment();
        assert!(enter(&activity, Phase::Answering, 1));
        assert!(!activity.close(seen));
        assert!(enter(&activity, Phase::Idle, 2));
        assert!(activity.close(activity.moment()));
        assert!(!enter(&activity, Phase::Answering, 3));
        assert_eq!(activity.moment(), Moment { phase: Phase::Closed, since: 2 });
        assert_eq!(activity.closable(PATIENCE), None);
    }
}
