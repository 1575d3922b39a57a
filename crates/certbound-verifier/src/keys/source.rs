//! The source of fetched keys. The source executes the decisions of the schedule.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound_core::time::UnixTime;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Snapshot;
use super::discovery::{Discovery, Failure, NoKeys};
use super::schedule::{Answer, Decision, End, Flight, LOST_AFTER, Schedule, Wanted};
use super::status::{KeyState, KeyStatus};
use crate::clock::Clock;
use crate::fetch::AnyFetch;
use crate::issuer::{Issuer, KeySet};
use crate::observe::{FetchOutcome, KeyFetch, Observer};
use crate::refusal::Refusal;

pub(crate) struct Source {
    discovery: Discovery,
    fetch: Arc<dyn AnyFetch>,
    clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn Observer>>,
    state: Mutex<State>,
    quiet: Quiet,
}

/// A request waits for the end of the fetch (`ended`), and at most for `at_most`.
struct Wait {
    ended: watch::Receiver<()>,
    at_most: Option<Duration>,
}

#[derive(Default)]
struct State {
    schedule: Schedule,
    snapshot: Option<Snapshot>,
    /// The generation of the last snapshot. It is kept after the removal of the snapshot, so that no later snapshot
    /// gets the same number.
    generation: u64,
    failure: Option<Failure>,
    /// The sender of the fetch in progress. Its drop wakes the requests that wait for the fetch.
    ended: Option<watch::Sender<()>>,
}

impl Source {
    pub(super) fn new(
        issuer: &Issuer,
        fetch: Arc<dyn AnyFetch>,
        clock: Arc<dyn Clock>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        Self {
            discovery: Discovery::of(issuer),
            fetch,
            clock,
            observer,
            state: Mutex::default(),
            quiet: Quiet::default(),
        }
    }

    /// Copies the keys of an earlier source, if both sources fetch the same documents and accept the same keys.
    pub(super) fn adopt(&self, other: &Self) {
        if !self.discovery.has_same_keys(&other.discovery) {
            return;
        }
        let now = self.clock.now();
        let (fetched, snapshot) = {
            let other = other.state();
            (other.schedule.usable_since(now), other.snapshot.clone())
        };
        let mut state = self.state();
        state.schedule = Schedule::with_keys_of(fetched);
        state.generation = snapshot.as_ref().map_or(0, |snapshot| snapshot.generation);
        state.snapshot = snapshot.filter(|_| fetched.is_some());
        self.quiet.publish(&state);
    }

    /// Starts a fetch if the keys are missing or due for a refresh.
    pub(super) fn refresh(self: &Arc<Self>) {
        let state = self.state();
        self.demand(state, Wanted::Known, true);
    }

    pub(super) fn status(&self) -> KeyStatus {
        let (now, state) = (self.clock.now(), self.state());
        let failure = state.failure.as_ref().map(|failure| failure.reason.clone());
        KeyStatus {
            issuer: self.discovery.name().to_owned(),
            state: match (state.schedule.usable_since(now), failure) {
                (Some(at), failure) => KeyState::Fetched { at, failure },
                (None, reason) => KeyState::Unavailable {
                    reason: reason.unwrap_or_else(|| "the keys have not been fetched yet".to_owned()),
                },
            },
        }
    }

    pub(super) async fn current(
        self: &Arc<Self>,
        may_fetch: bool,
        has: impl Fn(&Snapshot) -> bool,
    ) -> Result<Snapshot, Refusal> {
        let (answer, wait) = {
            let state = self.state();
            let wanted = state.wanted(&has);
            self.demand(state, wanted, may_fetch)
        };
        let has_ended = match wait {
            Some(wait) => wait.has_ended().await,
            None => true,
        };
        let state = self.state();
        let now = self.clock.now();
        let answer = match answer {
            Answer::Wait if has_ended => state.schedule.answer(now, state.wanted(&has)),
            answer => answer,
        };
        match (answer, &state.snapshot) {
            (Answer::Use | Answer::Unknown, Some(snapshot)) => Ok(snapshot.clone()),
            _ => Err(state.unavailable(now)),
        }
    }

    pub(super) fn is_current(self: &Arc<Self>, generation: u64, now: UnixTime, may_fetch: bool) -> bool {
        if self.quiet.holds(now) {
            return self.quiet.generation.load(Ordering::Relaxed) == generation;
        }
        let state = self.state();
        let stands = state.snapshot.as_ref().is_some_and(|snapshot| snapshot.generation == generation);
        stands && self.demand(state, Wanted::Known, may_fetch).0 == Answer::Use
    }

    /// Passes a demand to the schedule, and starts a fetch if the schedule requires it. `state` is the lock under which
    /// the keys were read. The second value is `Some` if the answer is [`Answer::Wait`] and a fetch is in progress.
    fn demand(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        wanted: Wanted,
        may_fetch: bool,
    ) -> (Answer, Option<Wait>) {
        let now = self.clock.now();
        let Decision { answer, begin } = state.schedule.demand(now, wanted, may_fetch);
        let given_up = match (begin, state.schedule.is_fetching()) {
            (Some(_), _) => state.ended.replace(watch::Sender::default()),
            (None, true) => None,
            (None, false) => state.ended.take(),
        };
        if given_up.is_some() {
            let limit = LOST_AFTER.as_secs();
            let reason = format!("the fetch did not end within {limit} s, or the clock was set back");
            state.failure = Some(Failure::without_answer(&reason));
        }
        let ended = state.ended.as_ref().filter(|_| answer == Answer::Wait).map(watch::Sender::subscribe);
        let at_most = state.schedule.longest_wait(now, wanted);
        self.quiet.publish(&state);
        // The lock must be released before `tokio::spawn`. A runtime that shuts down drops the new task immediately,
        // and the drop of `Fetching` takes the lock.
        drop(state);
        drop(given_up);
        if let Some(flight) = begin {
            self.begin(flight);
        }
        (answer, ended.map(|ended| Wait { ended, at_most }))
    }

    /// Fetches in a separate task, so that a cancelled caller does not cancel the fetch for the other callers.
    fn begin(self: &Arc<Self>, flight: Flight) {
        let fetching = Fetching { source: Arc::clone(self), flight };
        tokio::spawn(async move {
            let source = &fetching.source;
            let began = source.observer.as_ref().map(|observer| (observer, Instant::now()));
            let fetched = source.discovery.fetch(&*source.fetch).await;
            if let Some((observer, began)) = began {
                let (issuer, outcome) = (source.discovery.name(), outcome(&fetched));
                observer.fetched(&KeyFetch { issuer, outcome, duration: began.elapsed() });
            }
            source.end(flight, fetched);
        });
    }

    fn end(&self, flight: Flight, fetched: Result<KeySet, NoKeys>) {
        let end = match &fetched {
            Ok(_) => End::Keys,
            Err(NoKeys::Withdrawn(_)) => End::Withdrawn,
            Err(NoKeys::Failed(_)) => End::Failed,
        };
        let mut state = self.state();
        if !state.schedule.ended(flight, self.clock.now(), end) {
            return;
        }
        let issuer = self.discovery.name();
        match fetched {
            Ok(keys) => {
                state.failure = None;
                state.store(keys);
            }
            Err(NoKeys::Withdrawn(failure)) => {
                tracing::warn!(
                    issuer,
                    reason = failure.reason,
                    "the issuer has no usable key, so no token is accepted"
                );
                state.failure = Some(failure);
                state.snapshot = None;
            }
            Err(NoKeys::Failed(failure)) => {
                tracing::warn!(issuer, reason = failure.reason, "keys could not be fetched");
                state.failure = Some(failure);
            }
        }
        self.quiet.publish(&state);
        let ended = state.ended.take();
        drop(state);
        drop(ended);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome(fetched: &Result<KeySet, NoKeys>) -> FetchOutcome {
    match fetched {
        Ok(_) => FetchOutcome::Fetched,
        Err(NoKeys::Withdrawn(_)) => FetchOutcome::Withdrawn,
        Err(NoKeys::Failed(_)) => FetchOutcome::Failed,
    }
}

impl Wait {
    /// Waits for the end of the fetch. Returns false if the fetch did not end in time.
    async fn has_ended(mut self) -> bool {
        // No value is ever sent, so the result is the error for a dropped sender.
        let ended = self.ended.changed();
        match self.at_most {
            Some(at_most) => tokio::time::timeout(at_most, ended).await.is_ok(),
            None => ended.await.is_err(),
        }
    }
}

impl State {
    fn wanted(&self, has: impl Fn(&Snapshot) -> bool) -> Wanted {
        if self.snapshot.as_ref().is_some_and(has) { Wanted::Known } else { Wanted::Unknown }
    }

    fn store(&mut self, keys: KeySet) {
        if self.snapshot.as_ref().is_some_and(|before| *before.keys == keys) {
            return;
        }
        self.generation += 1;
        self.snapshot = Some(Snapshot { keys: Arc::new(keys), generation: self.generation });
    }

    fn unavailable(&self, now: UnixTime) -> Refusal {
        let reason = match &self.snapshot {
            None => "no fetch has finished yet",
            Some(_) => {
                "the token needs a key that is unknown, and the fetch of newer keys has not finished yet"
            }
        };
        let failure = self.failure.clone().unwrap_or_else(|| Failure::without_answer(reason));
        let Failure { reason, host, is_transient } = failure;
        Refusal::KeysUnavailable { reason, host, is_transient, retry_after: self.schedule.retry_after(now) }
    }
}

/// A fetch in progress. If its task panics or its runtime shuts down, the drop ends the fetch as a failure.
struct Fetching {
    source: Arc<Source>,
    flight: Flight,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let failure = Failure::without_answer("the fetch was cancelled");
        self.source.end(self.flight, Err(NoKeys::Failed(failure)));
    }
}

/// A copy of a part of the state, for the check of remembered decisions without the lock: the generation of the keys,
/// and the time span in which no fetch is due. In this span a decision is valid if its generation is the current
/// generation.
#[derive(Default)]
struct Quiet {
    generation: AtomicU64,
    from: AtomicU64,
    until: AtomicU64,
}

impl Quiet {
    /// Copies the state. The caller must hold the lock.
    fn publish(&self, state: &State) {
        let (from, until) =
            state.schedule.quiet().map_or((0, 0), |(from, until)| (from.as_secs(), until.as_secs()));
        self.generation.store(state.snapshot.as_ref().map_or(0, |it| it.generation), Ordering::Relaxed);
        self.from.store(from, Ordering::Relaxed);
        // After a load of this value, a reader also loads the generation that was stored before it.
        self.until.store(until, Ordering::Release);
    }

    fn holds(&self, now: UnixTime) -> bool {
        let until = self.until.load(Ordering::Acquire);
        now.as_secs() < until && now.as_secs() >= self.from.load(Ordering::Relaxed)
    }
}
