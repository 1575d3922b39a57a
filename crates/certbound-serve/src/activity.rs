//! The phase of a connection, and the time of the last change. The connection changes this state. [`Places`] reads it,
//! and closes a connection to make room for a waiting connection.
//!
//! [`Places`]: crate::places::Places

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time since the server started, in milliseconds.
pub(crate) type Millis = u64;

/// The phases of a connection, in the order of one request.
///
/// An HTTP/2 connection is `Serving` from its first request to its end, also while no request is open. The bytes of the
/// connection show neither the start of the next request nor the end of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No byte of a first request has been read.
    New,
    /// A part of a request's head has been read, or the TLS handshake is in progress.
    Head,
    /// Requests are open.
    Serving(OpenRequests),
    /// The response is complete, but some bytes of it may not be written yet.
    Answered,
    /// The last response is written, and no byte of the next request has been read.
    Idle,
    /// The connection was chosen to be closed. This phase is final.
    Closed,
}

/// The numbers of the open requests of one connection. With HTTP/1.1 at most one request is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenRequests {
    /// The requests whose response is not complete.
    pub(crate) all: u32,
    /// The requests whose body the service waits for.
    pub(crate) receiving: u32,
    /// The requests whose response waits for the client to read more. These requests are counted with HTTP/2 only,
    /// where the client limits each response. With HTTP/1.1 the write waits (see [`Activity::stall`]).
    pub(crate) sending: u32,
}

impl OpenRequests {
    /// Returns whether the connection waits only for its client. If no request is open, it waits for the next request.
    ///
    /// A request whose body and response both wait for the client counts twice. The services of this workspace read
    /// the body before they respond, so their requests never count twice.
    fn wait_for_client(self) -> bool {
        self.receiving + self.sending >= self.all
    }

    /// Returns whether the connection waits for its client and no open request waits for a body. A body has its own
    /// time limit.
    pub(crate) fn wait_unlimited(self) -> bool {
        self.sending >= self.all
    }
}

/// A phase and the time of the last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) phase: Phase,
    pub(crate) since: Millis,
}

/// The time from which a connection may be closed to make room for a waiting connection. The connection with the
/// smallest value is closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closable {
    /// The connection may be closed at once. The value is the time since which it is idle.
    Idle(Millis),
    /// The connection waits for its client, and may be closed from this time on.
    Waiting(Millis),
}

/// The state of one connection. Each change is one step under the lock, so a connection that was chosen to be closed
/// never begins to answer a request.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    moment: Moment,
    /// The time since which a write waits for the client.
    stalled: Option<Millis>,
}

impl Activity {
    pub(crate) fn new(now: Millis) -> Self {
        Self(Mutex::new(State { moment: Moment { phase: Phase::New, since: now }, stalled: None }))
    }

    pub(crate) fn moment(&self) -> Moment {
        self.state().moment
    }

    /// Replaces the moment by `next(moment)`. Returns false, and changes nothing, if the connection was closed.
    pub(crate) fn change(&self, next: impl FnOnce(Moment) -> Moment) -> bool {
        let mut state = self.state();
        if state.moment.phase == Phase::Closed {
            return false;
        }
        state.moment = next(state.moment);
        true
    }

    /// Changes the numbers of open requests. Does nothing if no request is open.
    pub(crate) fn change_open(&self, now: Millis, change: impl FnOnce(&mut OpenRequests)) {
        self.change(|moment| match moment.phase {
            Phase::Serving(mut open) => {
                change(&mut open);
                Moment { phase: Phase::Serving(open), since: now }
            }
            _ => moment,
        });
    }

    /// Adds an open request. Returns false if the connection was closed.
    pub(crate) fn begin(&self, now: Millis) -> bool {
        self.change(|moment| {
            let mut open = match moment.phase {
                Phase::Serving(open) => open,
                _ => OpenRequests::default(),
            };
            open.all += 1;
            Moment { phase: Phase::Serving(open), since: now }
        })
    }

    /// Closes the connection if its moment is still `seen`. Returns whether this call closed the connection.
    pub(crate) fn close(&self, seen: Moment) -> bool {
        let mut state = self.state();
        let same = state.moment == seen;
        if same {
            state.moment.phase = Phase::Closed;
        }
        same
    }

    /// Records that a write waits for the client. Returns true if no write waited before.
    pub(crate) fn stall(&self, now: Millis) -> bool {
        let stalled = &mut self.state().stalled;
        let first = stalled.is_none();
        stalled.get_or_insert(now);
        first
    }

    /// Records that no write waits.
    pub(crate) fn flow(&self) {
        self.state().stalled = None;
    }

    /// Returns the time from which this connection may be closed, and the moment from which the time was computed.
    /// Returns `None` if the connection is closed already or does not wait for the client.
    pub(crate) fn closable(&self, patience: Duration) -> Option<(Closable, Moment)> {
        let state = self.state();
        let (moment, stalled) = (state.moment, state.stalled);
        let after = |since: Millis| Closable::Waiting(since.saturating_add(millis(patience)));
        let closable = match (moment.phase, stalled) {
            (Phase::Closed, _) => None,
            (_, Some(since)) => Some(after(since)),
            (Phase::Idle, None) => Some(Closable::Idle(moment.since)),
            (Phase::New | Phase::Head, None) => Some(after(moment.since)),
            (Phase::Serving(open), None) => open.wait_for_client().then(|| after(moment.since)),
            (Phase::Answered, None) => None,
        };
        closable.map(|closable| (closable, moment))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Converts to milliseconds. A duration that does not fit becomes the largest number.
pub(crate) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn enter(activity: &Activity, phase: Phase, since: Millis) -> bool {
        activity.change(|_| Moment { phase, since })
    }

    fn serving(all: u32, receiving: u32, sending: u32) -> Phase {
        Phase::Serving(OpenRequests { all, receiving, sending })
    }

    fn now(activity: &Activity) -> Option<Closable> {
        activity.closable(PATIENCE).map(|(closable, _)| closable)
    }

    #[test]
    fn an_idle_connection_goes_first_and_one_that_waits_for_the_service_never() {
        let activity = Activity::new(5);
        assert_eq!(now(&activity), Some(Closable::Waiting(1_005)));
        let waiting = Some(Closable::Waiting(1_010));
        for (phase, expected) in [
            (Phase::Head, waiting),
            (serving(1, 0, 0), None),
            (serving(1, 1, 0), waiting),
            (Phase::Answered, None),
            (Phase::Idle, Some(Closable::Idle(10))),
            // With several HTTP/2 requests, one request that does not wait for the client is enough to keep the
            // connection.
            (serving(3, 2, 0), None),
            (serving(3, 1, 1), None),
            (serving(3, 1, 2), waiting),
            (serving(0, 0, 0), waiting),
        ] {
            assert!(enter(&activity, phase, 10));
            assert_eq!(now(&activity), expected, "{phase:?}");
        }
        assert!(Closable::Idle(u64::MAX) < Closable::Waiting(0));
        // A write that waits for the client counts in every phase, from the beginning of its wait.
        assert!(enter(&activity, serving(1, 0, 0), 20));
        assert!(activity.stall(30) && !activity.stall(40));
        assert_eq!(now(&activity), Some(Closable::Waiting(1_030)));
        activity.flow();
        assert_eq!(now(&activity), None);
    }

    #[test]
    fn requests_are_counted() {
        let activity = Activity::new(0);
        activity.change_open(1, |open| open.all += 1);
        assert_eq!(activity.moment(), Moment { phase: Phase::New, since: 0 });
        assert!(activity.begin(2) && activity.begin(3));
        assert_eq!(activity.moment(), Moment { phase: serving(2, 0, 0), since: 3 });
        activity.change_open(4, |open| open.receiving += 1);
        assert_eq!(activity.moment(), Moment { phase: serving(2, 1, 0), since: 4 });
    }

    #[test]
    fn a_closed_connection_answers_nothing_and_one_that_went_on_is_not_closed() {
        let activity = Activity::new(0);
        let seen = activity.moment();
        assert!(activity.begin(1));
        assert!(!activity.close(seen));
        assert!(enter(&activity, Phase::Idle, 2));
        assert!(activity.close(activity.moment()));
        assert!(!activity.begin(3));
        assert_eq!(activity.moment(), Moment { phase: Phase::Closed, since: 2 });
        assert_eq!(activity.closable(PATIENCE), None);
    }
}
