//! Single flight: however many wait for one thing, it is fetched once.
//!
//! A flight is driven by whoever waits for it. Of its waiters one at a time is woken to poll it, and hands that duty on
//! when it gives up; all are woken when it lands. So a caller that gives up strands nobody, and when the last one does,
//! the fetch is dropped with it. `tests/single_flight` runs this file under every order of its locks.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use super::sync::{Mutex, lock};

/// What fetches.
pub(crate) type Load<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Code that the fetch called panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Flights under way. No lock is held while anything is awaited, polled, woken or dropped.
pub(crate) struct Flights<K, T> {
    under_way: Mutex<HashMap<K, Arc<Flight<T>>>>,
}

struct Flight<T> {
    /// Locked after `under_way`, never before it.
    state: Mutex<State<T>>,
    waker: Waker,
}

struct State<T> {
    seat: Seat<T>,
    /// The fetch can go on, and whoever is woken or polls next must poll it.
    due: bool,
    /// Those who are still there, woken or not.
    aboard: usize,
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

enum Seat<T> {
    Ready(Load<T>),
    /// One of the waiters is polling it.
    Taken,
    Landed(Result<T, Panicked>),
}

impl<K: Eq + Hash + Clone, T: Clone + Send + 'static> Flights<K, T> {
    /// Waits for the flight of `key`, starting it with `load` if none is under way.
    pub(crate) fn board(&self, key: K, load: impl FnOnce() -> Load<T>) -> Boarded<'_, K, T> {
        let mut under_way = lock(&self.under_way);
        if let Some(flight) = under_way.get(&key) {
            let mut state = lock(&flight.state);
            // What has landed was meant for those who waited; who comes later wants it anew.
            if !matches!(state.seat, Seat::Landed(_)) {
                let id = state.seated();
                drop(state);
                return Boarded { flight: Arc::clone(flight), flights: self, key, id, joined: true };
            }
        }
        let flight = Flight::new(load());
        let id = lock(&flight.state).seated();
        let landed = under_way.insert(key.clone(), Arc::clone(&flight));
        drop(under_way);
        drop(landed);
        Boarded { flight, flights: self, key, id, joined: false }
    }

    /// How many are under way.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look whether the list grows"))]
    pub(crate) fn len(&self) -> usize {
        lock(&self.under_way).len()
    }

    /// Takes `flight` off the list, if it is still the one that is listed.
    fn unlist(&self, key: &K, flight: &Arc<Flight<T>>) {
        let mut under_way = lock(&self.under_way);
        if under_way.get(key).is_some_and(|listed| Arc::ptr_eq(listed, flight)) {
            let unlisted = under_way.remove(key);
            drop(under_way);
            drop(unlisted);
        }
    }
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { under_way: Mutex::new(HashMap::new()) }
    }
}

impl<T: Clone + Send + 'static> Flight<T> {
    fn new(load: Load<T>) -> Arc<Self> {
        Arc::new_cyclic(|flight: &Weak<Self>| Self {
            state: Mutex::new(State {
                seat: Seat::Ready(load),
                due: true,
                aboard: 0,
                waiting: BTreeMap::new(),
                next: 0,
            }),
            waker: Waker::from(Arc::new(Signal(flight.clone()))),
        })
    }

    /// Polls on behalf of one waiter; tells whether this made it land.
    fn poll(&self, id: u64, context: &mut Context<'_>) -> (Poll<Result<T, Panicked>>, bool) {
        let mut state = lock(&self.state);
        if let Seat::Landed(result) = &state.seat {
            return (Poll::Ready(result.clone()), false);
        }
        let replaced = state.waiting.insert(id, context.waker().clone());
        let seat = if state.due { std::mem::replace(&mut state.seat, Seat::Taken) } else { Seat::Taken };
        let Seat::Ready(mut load) = seat else {
            // It has nothing to do, or somebody else does it already.
            drop(state);
            drop(replaced);
            return (Poll::Pending, false);
        };
        state.due = false;
        drop(state);
        drop(replaced);
        let mut inner = Context::from_waker(&self.waker);
        // The others must not wait for ever because of one caller's code; `Panicked` is told to all alike.
        match catch_unwind(AssertUnwindSafe(|| load.as_mut().poll(&mut inner))) {
            Ok(Poll::Pending) => {
                let mut state = lock(&self.state);
                state.seat = Seat::Ready(load);
                // It went on while it was polled.
                let again = if state.due { state.waiting.get(&id).cloned() } else { None };
                drop(state);
                again.inspect(Waker::wake_by_ref);
                (Poll::Pending, false)
            }
            Ok(Poll::Ready(result)) => (Poll::Ready(self.land(Ok(result), load)), true),
            Err(_) => (Poll::Ready(self.land(Err(Panicked), load)), true),
        }
    }

    fn land(&self, result: Result<T, Panicked>, load: Load<T>) -> Result<T, Panicked> {
        // Also what it holds may panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(load)));
        let mut state = lock(&self.state);
        state.seat = Seat::Landed(result.clone());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
        result
    }
}

impl<T> State<T> {
    fn seated(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        self.aboard += 1;
        id
    }

    /// Somebody who can poll, if that is due and nobody does.
    fn pilot(&mut self) -> Option<Waker> {
        if self.due && matches!(self.seat, Seat::Ready(_)) {
            return self.waiting.pop_first().map(|(_, waker)| waker);
        }
        None
    }
}

/// What the fetch is given to say that it can go on.
struct Signal<T>(Weak<Flight<T>>);

impl<T: Send> Wake for Signal<T> {
    fn wake(self: Arc<Self>) {
        let Some(flight) = self.0.upgrade() else { return };
        let mut state = lock(&flight.state);
        state.due = true;
        let pilot = state.pilot();
        drop(state);
        pilot.into_iter().for_each(Waker::wake);
    }
}

/// One who waits. Dropped before the end, it leaves the flight to the others.
pub(crate) struct Boarded<'f, K: Eq + Hash + Clone, T: Clone + Send + 'static> {
    flights: &'f Flights<K, T>,
    flight: Arc<Flight<T>>,
    key: K,
    id: u64,
    joined: bool,
}

impl<K: Eq + Hash + Clone, T: Clone + Send + 'static> Boarded<'_, K, T> {
    /// Whether another one started the flight.
    pub(crate) fn joined(&self) -> bool {
        self.joined
    }
}

impl<K: Eq + Hash + Clone + Unpin, T: Clone + Send + 'static> Future for Boarded<'_, K, T> {
    type Output = Result<T, Panicked>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (poll, landed) = self.flight.poll(self.id, context);
        if landed {
            self.flights.unlist(&self.key, &self.flight);
        }
        poll
    }
}

impl<K: Eq + Hash + Clone, T: Clone + Send + 'static> Drop for Boarded<'_, K, T> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.flights.under_way);
        let mut state = lock(&self.flight.state);
        state.aboard -= 1;
        let own = state.waiting.remove(&self.id);
        // It may have been woken for all of them.
        let pilot = state.pilot();
        let last = state.aboard == 0;
        drop(state);
        let listed = under_way.get(&self.key).is_some_and(|listed| Arc::ptr_eq(listed, &self.flight));
        let unlisted = if last && listed { under_way.remove(&self.key) } else { None };
        drop(under_way);
        drop((own, unlisted));
        pilot.into_iter().for_each(Waker::wake);
    }
}
