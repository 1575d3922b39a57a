//! Keys that are fetched: what the schedule decides is done here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use certbound_core::time::UnixTime;
use tokio::sync::watch;

use super::Snapshot;
use super::discovery::Discovery;
use super::schedule::{Answer, Decision, Flight, Schedule, Wanted};
use crate::clock::Clock;
use crate::fetch::AnyFetch;
use crate::issuer::Issuer;
use crate::key_set::KeySet;
use crate::refusal::Refusal;

pub(crate) struct Source {
    discovery: Discovery,
    fetch: Arc<dyn AnyFetch>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Tells those who wait that a fetch has ended.
    ended: watch::Sender<()>,
    quiet: Quiet,
}

#[derive(Default)]
struct State {
    schedule: Schedule,
    snapshot: Option<Snapshot>,
    failure: Option<String>,
}

impl Source {
    pub(super) fn new(issuer: &Issuer, fetch: Arc<dyn AnyFetch>, clock: Arc<dyn Clock>) -> Self {
        Self {
            discovery: Discovery::of(issuer),
            fetch,
            clock,
            state: Mutex::default(),
            ended: watch::Sender::default(),
            quiet: Quiet::default(),
        }
    }

    pub(super) async fn current(
        self: &Arc<Self>,
        may_fetch: bool,
        has: impl Fn(&Snapshot) -> bool,
    ) -> Result<Snapshot, Refusal> {
        let (answer, mut ended) = {
            let state = self.state();
            let wanted = state.wanted(&has);
            // Under the lock: the end of a fetch that is waited for is not missed.
            let ended = self.ended.subscribe();
            (self.demand(state, wanted, may_fetch), ended)
        };
        if answer == Answer::Wait {
            // The sender lives as long as `self`.
            let _ = ended.changed().await;
        }
        let state = self.state();
        let now = self.clock.now();
        let answer = match answer {
            Answer::Wait => state.schedule.answer(now, state.wanted(&has)),
            answer => answer,
        };
        match (answer, &state.snapshot) {
            (Answer::Use | Answer::Unknown, Some(snapshot)) => Ok(snapshot.clone()),
            _ => Err(state.unavailable(now)),
        }
    }

    pub(super) fn vouch(self: &Arc<Self>, generation: u64, now: UnixTime, may_fetch: bool) -> bool {
        if self.quiet.holds(now) {
            return self.quiet.generation.load(Ordering::Relaxed) == generation;
        }
        let state = self.state();
        let stands = state.snapshot.as_ref().is_some_and(|snapshot| snapshot.generation == generation);
        stands && self.demand(state, Wanted::Known, may_fetch) == Answer::Use
    }

    /// Decides under the lock in which the keys were looked at, and begins the fetch that was decided.
    fn demand(self: &Arc<Self>, mut state: MutexGuard<'_, State>, wanted: Wanted, may_fetch: bool) -> Answer {
        let Decision { answer, begin } = state.schedule.demand(self.clock.now(), wanted, may_fetch);
        self.quiet.publish(&state);
        // A runtime that shuts down drops the task at once, and its end takes the lock.
        drop(state);
        if let Some(flight) = begin {
            self.begin(flight);
        }
        answer
    }

    /// In a task of its own: a caller that gives up must not keep others from the keys.
    fn begin(self: &Arc<Self>, flight: Flight) {
        let fetching = Fetching { source: Arc::clone(self), flight };
        tokio::spawn(async move {
            let source = &fetching.source;
            let fetched = source.discovery.fetch(&*source.fetch).await;
            source.end(flight, fetched);
        });
    }

    fn end(&self, flight: Flight, fetched: Result<KeySet, String>) {
        let mut state = self.state();
        if !state.schedule.ended(flight, self.clock.now(), fetched.is_ok()) {
            return;
        }
        match fetched {
            Ok(keys) => {
                state.failure = None;
                state.store(keys);
            }
            Err(reason) => {
                tracing::warn!(issuer = self.discovery.name(), %reason, "keys could not be fetched");
                state.failure = Some(reason);
            }
        }
        self.quiet.publish(&state);
        drop(state);
        self.ended.send_replace(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wanted(&self, has: impl Fn(&Snapshot) -> bool) -> Wanted {
        if self.snapshot.as_ref().is_some_and(has) { Wanted::Known } else { Wanted::Unknown }
    }

    fn store(&mut self, keys: KeySet) {
        let generation = match &self.snapshot {
            Some(before) if *before.keys == keys => return,
            Some(before) => before.generation + 1,
            None => 1,
        };
        self.snapshot = Some(Snapshot { keys: Arc::new(keys), generation });
    }

    fn unavailable(&self, now: UnixTime) -> Refusal {
        let reason = self.failure.clone().unwrap_or_else(|| "they were not fetched yet".to_owned());
        Refusal::KeysUnavailable { reason, retry_after: self.schedule.retry_after(now) }
    }
}

/// A fetch that ends as a failure when its task does not come to an end: it panicked, or its runtime shut down.
struct Fetching {
    source: Arc<Source>,
    flight: Flight,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.source.end(self.flight, Err("the fetch was broken off".to_owned()));
    }
}

/// What remembered decisions have to look at, without the lock: the keys' generation, and the times between which it is
/// all there is to look at.
#[derive(Default)]
struct Quiet {
    generation: AtomicU64,
    from: AtomicU64,
    until: AtomicU64,
}

impl Quiet {
    /// Called with the lock held.
    fn publish(&self, state: &State) {
        let (from, until) =
            state.schedule.quiet().map_or((0, 0), |(from, until)| (from.as_secs(), until.as_secs()));
        self.generation.store(state.snapshot.as_ref().map_or(0, |it| it.generation), Ordering::Relaxed);
        self.from.store(from, Ordering::Relaxed);
        // Whoever sees this sees the generation that belongs to it.
        self.until.store(until, Ordering::Release);
    }

    fn holds(&self, now: UnixTime) -> bool {
        let until = self.until.load(Ordering::Acquire);
        now.as_secs() < until && now.as_secs() >= self.from.load(Ordering::Relaxed)
    }
}
