//! The places of a server: how many connections it serves at once, and which one is closed to make room.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::activity::{Activity, Closable, Millis, Moment, Phase, millis};
use crate::limits::Limits;

/// All places of one server.
pub(crate) struct Places {
    pub(crate) limits: Limits,
    started: Instant,
    taken: Mutex<Taken>,
    /// A place is free, or a connection began to wait for its client while somebody waits for a place.
    changed: Notify,
    wanted: AtomicBool,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by: HashMap<u64, Arc<Tenant>>,
}

/// The connection that has a place.
struct Tenant {
    activity: Activity,
    /// Told once the connection was chosen to make room.
    closed: Notify,
}

/// One place, held by the task that serves its connection. It is free again once this is dropped.
pub(crate) struct Place {
    pub(crate) seat: Seat,
    number: u64,
}

/// What the parts of a connection know of its place. They may outlive it.
#[derive(Clone)]
pub(crate) struct Seat {
    places: Arc<Places>,
    tenant: Arc<Tenant>,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let (taken, changed, wanted) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Arc::new(Self { limits, started: Instant::now(), taken, changed, wanted })
    }

    pub(crate) fn now(&self) -> Millis {
        millis(self.started.elapsed())
    }

    pub(crate) fn at(&self, time: Millis) -> Instant {
        self.started + Duration::from_millis(time)
    }

    /// Waits for a place, and makes room where that is possible. One caller at a time.
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

    fn try_take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken();
        // A server without any place would never serve.
        if taken.by.len() >= self.limits.connections.max(1) {
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        let tenant = Arc::new(Tenant { activity: Activity::new(self.now()), closed: Notify::new() });
        taken.by.insert(number, Arc::clone(&tenant));
        Some(Place { seat: Seat { places: Arc::clone(self), tenant }, number })
    }

    /// Closes the connection that is first to go, if there is one now and none is going already. Otherwise the time from
    /// which one may be closed.
    pub(crate) fn make_room(&self) -> Option<Millis> {
        let taken = self.taken();
        loop {
            if taken.by.values().any(|tenant| tenant.activity.moment().phase == Phase::Closed) {
                return None;
            }
            let all = taken.by.values().filter_map(|tenant| {
                let (closable, seen) = tenant.activity.closable(self.limits.patience)?;
                Some((closable, seen, tenant))
            });
            let (closable, seen, tenant) = all.min_by_key(|(closable, ..)| *closable)?;
            if let Closable::Waiting(from) = closable
                && from > self.now()
            {
                return Some(from);
            }
            // It may have gone on meanwhile: then another one is looked for.
            if tenant.activity.close(seen) {
                tenant.closed.notify_one();
                return None;
            }
        }
    }

    /// Ready once no place is taken.
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
    /// Ready once this connection was chosen to make room.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + use<'_> {
        self.seat.tenant.closed.notified()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.places.taken().by.remove(&self.number);
        self.seat.places.changed.notify_one();
    }
}

impl Seat {
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.tenant.activity
    }

    /// Enters `phase` now. False if the connection was closed to make room.
    pub(crate) fn enter(&self, phase: Phase) -> bool {
        let since = self.places.now();
        self.activity().change(|_| Moment { phase, since })
    }

    /// Enters `to` now if the phase is `from`.
    pub(crate) fn go_on(&self, from: Phase, to: Phase) {
        let since = self.places.now();
        let next = |moment: Moment| if moment.phase == from { Moment { phase: to, since } } else { moment };
        self.activity().change(next);
    }

    /// Tells the one who waits for a place that this connection now waits for its client.
    pub(crate) fn waits_for_client(&self) {
        if self.places.wanted.load(SeqCst) {
            self.places.changed.notify_one();
        }
    }
}
