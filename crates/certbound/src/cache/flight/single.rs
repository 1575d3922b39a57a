//! Single flight: however many wait for one thing, it is fetched once.
//!
//! A flight is driven by a task of its own ([`Driver`]), so that one who waits and is not polled holds up nobody. Where
//! there is no such task, and until it runs, whoever waits and is polled drives it. When the last one who waits gives up,
//! the fetch is dropped. `tests/single_flight` runs this file under every order of its locks.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use foldhash::quality::RandomState;

use super::sync::{Mutex, lock};

/// What fetches.
pub(crate) type Load<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Code that the fetch called panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Flights under way. No lock is held while anything is awaited, polled, woken, cloned for waking or dropped.
pub(crate) struct Flights<K, T> {
    under_way: Mutex<HashMap<K, Arc<Flight<T>>, RandomState>>,
}

struct Flight<T> {
    /// Locked after `under_way`, never before it.
    state: Mutex<State<T>>,
    waker: Waker,
}

struct State<T> {
    seat: Seat<T>,
    /// The fetch can go on, and whoever polls next must poll it.
    due: bool,
    /// Those who are still there, woken or not.
    aboard: usize,
    waiting: BTreeMap<u64, Waker>,
    next: u64,
    driver: Wheel,
}

enum Seat<T> {
    Ready(Load<T>),
    /// Somebody is polling it.
    Taken,
    Landed(Result<T, Panicked>),
    /// Nobody wanted it any more.
    Left,
}

/// Who is woken when the fetch can go on.
enum Wheel {
    /// All who wait.
    Nobody,
    /// The driver, which has not been polled since it was made or woken: it looks by itself.
    Held,
    Waits(Waker),
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
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { under_way: Mutex::new(HashMap::default()) }
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
                driver: Wheel::Nobody,
            }),
            waker: Waker::from(Arc::new(Signal(flight.clone()))),
        })
    }

    /// Polls on behalf of one who waits.
    fn poll(&self, id: u64, context: &mut Context<'_>) -> Poll<Result<T, Panicked>> {
        let waker = context.waker().clone();
        let mut state = lock(&self.state);
        if let Seat::Landed(result) = &state.seat {
            let result = result.clone();
            drop(state);
            return Poll::Ready(result);
        }
        let replaced = state.waiting.insert(id, waker);
        let load = state.take_the_wheel();
        drop(state);
        drop(replaced);
        // If it has nothing to do, or somebody else does it already, that is all.
        load.map_or(Poll::Pending, |load| self.go_on(load, Some(id)))
    }

    /// Polls on behalf of all who wait; ready when there is no more to do.
    fn drive(&self, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let mut state = lock(&self.state);
        if matches!(state.seat, Seat::Landed(_) | Seat::Left) {
            return Poll::Ready(());
        }
        let replaced = std::mem::replace(&mut state.driver, Wheel::Waits(waker));
        let load = state.take_the_wheel();
        drop(state);
        drop(replaced);
        load.map_or(Poll::Pending, |load| self.go_on(load, None).map(drop))
    }

    /// Polls the fetch, for the waiter `id` or for all.
    fn go_on(&self, mut load: Load<T>, id: Option<u64>) -> Poll<Result<T, Panicked>> {
        let mut inner = Context::from_waker(&self.waker);
        // The others must not wait for ever because of one caller's code; `Panicked` is told to all alike.
        match catch_unwind(AssertUnwindSafe(|| load.as_mut().poll(&mut inner))) {
            Ok(Poll::Pending) => {
                let mut state = lock(&self.state);
                if state.aboard == 0 {
                    state.seat = Seat::Left;
                    drop(state);
                    dispose(load);
                    return Poll::Pending;
                }
                state.seat = Seat::Ready(load);
                // It may have gone on while it was polled.
                let (waiting, driver) = state.those_who_can_poll();
                drop(state);
                waiting.into_values().chain(driver.waker()).for_each(Waker::wake);
                Poll::Pending
            }
            Ok(Poll::Ready(result)) => Poll::Ready(self.land(id, Ok(result), load)),
            Err(_) => Poll::Ready(self.land(id, Err(Panicked), load)),
        }
    }

    /// The waiter `id` has the result by this, and needs no waking: that would cost its task another round.
    fn land(&self, id: Option<u64>, result: Result<T, Panicked>, load: Load<T>) -> Result<T, Panicked> {
        dispose(load);
        let mut state = lock(&self.state);
        state.seat = Seat::Landed(result.clone());
        let (mut waiting, driver) = state.everybody();
        drop(state);
        drop(id.and_then(|id| waiting.remove(&id)));
        waiting.into_values().chain(driver.waker()).for_each(Waker::wake);
        result
    }
}

/// Also what it holds may panic.
fn dispose<T>(load: Load<T>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(load)));
}

type Waiting = BTreeMap<u64, Waker>;

impl<T> State<T> {
    fn seated(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        self.aboard += 1;
        id
    }

    /// The fetch, if it can go on and nobody polls it.
    fn take_the_wheel(&mut self) -> Option<Load<T>> {
        if !self.due || !matches!(self.seat, Seat::Ready(_)) {
            return None;
        }
        self.due = false;
        match std::mem::replace(&mut self.seat, Seat::Taken) {
            Seat::Ready(load) => Some(load),
            _ => None,
        }
    }

    /// Who is to be woken so that somebody polls, if that is due and nobody does. Whoever is woken and does not poll holds
    /// up nobody: without a driver all are.
    fn those_who_can_poll(&mut self) -> (Waiting, Wheel) {
        if !self.due || !matches!(self.seat, Seat::Ready(_)) {
            return (Waiting::new(), Wheel::Nobody);
        }
        match &mut self.driver {
            Wheel::Nobody => (std::mem::take(&mut self.waiting), Wheel::Nobody),
            driver => (Waiting::new(), std::mem::replace(driver, Wheel::Held)),
        }
    }

    fn everybody(&mut self) -> (Waiting, Wheel) {
        let driver = match &mut self.driver {
            Wheel::Nobody => Wheel::Nobody,
            driver => std::mem::replace(driver, Wheel::Held),
        };
        (std::mem::take(&mut self.waiting), driver)
    }
}

impl Wheel {
    fn waker(self) -> Option<Waker> {
        match self {
            Self::Waits(waker) => Some(waker),
            Self::Nobody | Self::Held => None,
        }
    }
}

/// What the fetch is given to say that it can go on.
struct Signal<T>(Weak<Flight<T>>);

impl<T: Send> Wake for Signal<T> {
    fn wake(self: Arc<Self>) {
        let Some(flight) = self.0.upgrade() else { return };
        let mut state = lock(&flight.state);
        state.due = true;
        let (waiting, driver) = state.those_who_can_poll();
        drop(state);
        waiting.into_values().chain(driver.waker()).for_each(Waker::wake);
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

    /// What drives the flight for all who wait, as long as somebody does; to be polled by itself. One for each flight.
    pub(crate) fn driver(&self) -> Driver<T> {
        lock(&self.flight.state).driver = Wheel::Held;
        Driver(Arc::clone(&self.flight))
    }
}

impl<K: Eq + Hash + Clone + Unpin, T: Clone + Send + 'static> Future for Boarded<'_, K, T> {
    type Output = Result<T, Panicked>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.flight.poll(self.id, context)
    }
}

impl<K: Eq + Hash + Clone, T: Clone + Send + 'static> Drop for Boarded<'_, K, T> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.flights.under_way);
        let mut state = lock(&self.flight.state);
        state.aboard -= 1;
        let own = state.waiting.remove(&self.id);
        let last = state.aboard == 0;
        let (waiting, driver) = if last { state.everybody() } else { state.those_who_can_poll() };
        // Whoever is polling it finds out afterwards.
        let load = match &mut state.seat {
            seat @ Seat::Ready(_) if last => Some(std::mem::replace(seat, Seat::Left)),
            _ => None,
        };
        drop(state);
        let listed = under_way.get(&self.key).is_some_and(|listed| Arc::ptr_eq(listed, &self.flight));
        let unlisted = if last && listed { under_way.remove(&self.key) } else { None };
        drop(under_way);
        if let Some(Seat::Ready(load)) = load {
            dispose(load);
        }
        drop((own, unlisted));
        waiting.into_values().chain(driver.waker()).for_each(Waker::wake);
    }
}

/// Polls a flight on behalf of all who wait for it.
pub(crate) struct Driver<T: Clone + Send + 'static>(Arc<Flight<T>>);

impl<T: Clone + Send + 'static> Future for Driver<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.drive(context)
    }
}

impl<T: Clone + Send + 'static> Drop for Driver<T> {
    /// A runtime that ends leaves the flight to those who wait elsewhere.
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        let driver = std::mem::replace(&mut state.driver, Wheel::Nobody);
        let (waiting, _) = state.those_who_can_poll();
        drop(state);
        drop(driver);
        waiting.into_values().for_each(Waker::wake);
    }
}
