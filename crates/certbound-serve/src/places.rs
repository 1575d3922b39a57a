//! The places of a server. Their number limits the connections that the server serves at once. If no place is free, the
//! server may close a connection to make room for another connection.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::activity::{Activity, Closable, Millis, Moment, OpenRequests, Phase, millis};
use crate::limits::Limits;
use crate::load::{Counted, Load};

/// All places of one server. Each connection that is served has one place; there are [`Limits::connections`] places.
pub(crate) struct Places {
    pub(crate) limits: Limits,
    pub(crate) load: Load,
    started: Instant,
    taken: Mutex<Taken>,
    /// Wakes the caller of [`Places::take`] or [`Places::empty`]. A place that becomes free wakes the caller. With
    /// `wanted`, a connection that begins to wait for its client wakes the caller too.
    changed: Notify,
    wanted: AtomicBool,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by: HashMap<u64, Arc<ConnectionState>>,
}

/// The state of a connection that has a place.
struct ConnectionState {
    activity: Activity,
    /// Notifies the connection's task that it must close the connection.
    closed: Notify,
}

/// One place. The task that serves the connection holds this value; dropping it frees the place.
pub(crate) struct Place {
    pub(crate) handle: Handle,
    number: u64,
    _counted: Counted,
}

/// A handle to the state of one connection and to its server. It may outlive the place.
#[derive(Clone)]
pub(crate) struct Handle {
    places: Arc<Places>,
    state: Arc<ConnectionState>,
}

impl Places {
    pub(crate) fn new(limits: Limits, load: Load) -> Arc<Self> {
        let (taken, changed, wanted) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Arc::new(Self { limits, load, started: Instant::now(), taken, changed, wanted })
    }

    pub(crate) fn now(&self) -> Millis {
        millis(self.started.elapsed())
    }

    pub(crate) fn at(&self, time: Millis) -> Instant {
        self.started + Duration::from_millis(time)
    }

    /// Waits for a place. While no place is free, the method closes connections by [`Places::make_room`]. Only one
    /// caller at a time may wait.
    pub(crate) async fn take(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_take() {
                self.wanted.store(false, SeqCst);
                return place;
            }
            self.wanted.store(true, SeqCst);
            match self.make_room() {
                Some(later) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(self.at(later)) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Returns a place if one is free.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken();
        // A limit of zero would stop the server from ever serving, so it counts as 1.
        if taken.by.len() >= self.limits.connections.max(1) {
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        let state = Arc::new(ConnectionState { activity: Activity::new(self.now()), closed: Notify::new() });
        taken.by.insert(number, Arc::clone(&state));
        let handle = Handle { places: Arc::clone(self), state };
        Some(Place { handle, number, _counted: self.load.connection() })
    }

    /// Closes the connection that may be closed first. The method does nothing while a previously closed connection
    /// still has a place.
    ///
    /// If connections may be closed only later, returns the earliest time for a closure. Otherwise returns `None`.
    pub(crate) fn make_room(&self) -> Option<Millis> {
        let taken = self.taken();
        loop {
            if taken.by.values().any(|state| state.activity.moment().phase == Phase::Closed) {
                return None;
            }
            let all = taken.by.values().filter_map(|state| {
                let (closable, seen) = state.activity.closable(self.limits.patience)?;
                Some((closable, seen, state))
            });
            let (closable, seen, state) = all.min_by_key(|(closable, ..)| *closable)?;
            if let Closable::Waiting(from) = closable
                && from > self.now()
            {
                return Some(from);
            }
            // If the connection has changed its phase in the meantime, the loop chooses again.
            if state.activity.close(seen) {
                state.closed.notify_one();
                return None;
            }
        }
    }

    /// Waits until no place is taken.
    pub(crate) async fn empty(&self) {
        while !self.taken().by.is_empty() {
            self.changed.notified().await;
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until this connection was chosen to be closed.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + use<'_> {
        self.handle.state.closed.notified()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handle.places.taken().by.remove(&self.number);
        self.handle.places.changed.notify_one();
    }
}

impl Handle {
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.state.activity
    }

    /// Enters `phase` now. Returns false if the connection was closed to make room.
    pub(crate) fn enter(&self, phase: Phase) -> bool {
        let since = self.places.now();
        self.activity().change(|_| Moment { phase, since })
    }

    /// Changes the numbers of open requests now.
    pub(crate) fn change_open(&self, change: impl FnOnce(&mut OpenRequests)) {
        self.activity().change_open(self.places.now(), change);
        self.waits_for_client();
    }

    /// Waits until the connection has waited for its client during the whole of `limit`. Time in which the server waits
    /// for the body of a request does not count. The time before this call does not count. The method is for HTTP/2
    /// connections, from their first request on.
    pub(crate) async fn unused(&self, limit: Duration) {
        // A limit of zero would make this loop busy, so it counts as one millisecond.
        let limit = millis(limit).max(1);
        let mut since = self.places.now();
        loop {
            tokio::time::sleep_until(self.places.at(since.saturating_add(limit))).await;
            let (moment, now) = (self.activity().moment(), self.places.now());
            since = match moment.phase {
                Phase::Serving(open) if open.wait_unlimited() => moment.since.max(since),
                // The connection is in use now, so the whole `limit` begins again.
                _ => now,
            };
            if since.saturating_add(limit) <= now {
                return;
            }
        }
    }

    /// Wakes the waiting caller of [`Places::take`], if there is one. This connection may wait for its client now, so
    /// it may be closed.
    pub(crate) fn waits_for_client(&self) {
        if self.places.wanted.load(SeqCst) {
            self.places.changed.notify_one();
        }
    }
}
