//! The keys of one issuer over time: fetched, refreshed in the background, kept for a while when they cannot be.

mod discovery;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use certbound_core::time::UnixTime;

use self::discovery::Discovery;
use crate::fetch::AnyFetch;
use crate::issuer::Issuer;
use crate::key_set::KeySet;
use crate::refusal::Refusal;

/// After this long keys are fetched again, in the background.
pub(crate) const REFRESH_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Keys that could not be refreshed are believed this long after they were fetched, and then no more.
pub(crate) const KEEP_FOR: Duration = Duration::from_secs(48 * 3600);
/// An unknown key causes a fetch no sooner after the last one.
pub(crate) const UNKNOWN_KEY_EVERY: Duration = Duration::from_secs(300);
/// A failed fetch is tried again no sooner, while there are no keys at all.
pub(crate) const RETRY_EVERY: Duration = Duration::from_secs(10);

/// Where the keys of an issuer come from.
pub(crate) enum Keys {
    Fixed(Arc<KeySet>),
    Fetched(Arc<Source>),
}

pub(crate) struct Source {
    discovery: Discovery,
    fetch: Arc<dyn AnyFetch>,
    snapshot: RwLock<Option<Snapshot>>,
    progress: Mutex<Progress>,
    /// Held by whoever fetches; others of this issuer wait for it, those of another do not.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Snapshot {
    keys: Arc<KeySet>,
    fetched_at: UnixTime,
    generation: u64,
}

#[derive(Default)]
struct Progress {
    /// How many fetches have ended.
    finished: u64,
    /// When the last one began.
    last: Option<UnixTime>,
    failure: Option<String>,
    in_background: bool,
}

impl Keys {
    pub(crate) fn fixed(keys: KeySet) -> Self {
        Self::Fixed(Arc::new(keys))
    }

    pub(crate) fn fetched(issuer: &Issuer, fetch: Arc<dyn AnyFetch>) -> Self {
        Self::Fetched(Arc::new(Source {
            discovery: Discovery::of(issuer),
            fetch,
            snapshot: RwLock::default(),
            progress: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
        }))
    }

    /// Changes whenever the keys do.
    pub(crate) fn generation(&self) -> u64 {
        match self {
            Self::Fixed(_) => 0,
            Self::Fetched(source) => source.snapshot().map_or(0, |snapshot| snapshot.generation),
        }
    }

    /// The keys as of `now`, and their generation. `has` tells whether a set has the wanted key.
    pub(crate) async fn current(
        &self,
        now: UnixTime,
        has: impl Fn(&KeySet) -> bool,
    ) -> Result<(Arc<KeySet>, u64), Refusal> {
        match self {
            Self::Fixed(keys) => Ok((Arc::clone(keys), 0)),
            Self::Fetched(source) => {
                let snapshot = Source::current(source, now, has).await?;
                Ok((snapshot.keys, snapshot.generation))
            }
        }
    }
}

impl Source {
    async fn current(
        self: &Arc<Self>,
        now: UnixTime,
        has: impl Fn(&KeySet) -> bool,
    ) -> Result<Snapshot, Refusal> {
        let believed = |snapshot: &Snapshot| now.since(snapshot.fetched_at) < KEEP_FOR;
        let seen = self.progress().finished;
        match self.snapshot().filter(believed) {
            Some(snapshot) if has(&snapshot.keys) => {
                if now.since(snapshot.fetched_at) >= REFRESH_AFTER {
                    self.refresh_in_background(now);
                }
                Ok(snapshot)
            }
            Some(snapshot) => {
                if self.may_fetch(now, UNKNOWN_KEY_EVERY) {
                    self.refresh(now, seen).await;
                }
                Ok(self.snapshot().unwrap_or(snapshot))
            }
            None => {
                if self.may_fetch(now, RETRY_EVERY) {
                    self.refresh(now, seen).await;
                }
                let unavailable = || Refusal::KeysUnavailable { reason: self.failure() };
                self.snapshot().filter(believed).ok_or_else(unavailable)
            }
        }
    }

    /// A fetch that is under way counts as allowed: its result is worth waiting for.
    fn may_fetch(&self, now: UnixTime, every: Duration) -> bool {
        let long_ago = self.progress().last.is_none_or(|last| now.since(last) >= every);
        long_ago || self.flight.try_lock().is_err()
    }

    fn refresh_in_background(self: &Arc<Self>, now: UnixTime) {
        let seen = {
            let mut progress = self.progress();
            let recently = progress.last.is_some_and(|last| now.since(last) < UNKNOWN_KEY_EVERY);
            if progress.in_background || recently {
                return;
            }
            progress.in_background = true;
            progress.finished
        };
        let source = Arc::clone(self);
        tokio::spawn(async move {
            source.fetch_once(now, seen).await;
            source.progress().in_background = false;
        });
    }

    /// In a task of its own: a caller that gives up must not keep others from the keys.
    async fn refresh(self: &Arc<Self>, now: UnixTime, seen: u64) {
        let source = Arc::clone(self);
        let task = tokio::spawn(async move { source.fetch_once(now, seen).await });
        // It neither panics nor is aborted; a runtime that shuts down ends the caller too.
        let _ = task.await;
    }

    /// Fetches, unless a fetch has ended since `seen` of them had.
    async fn fetch_once(&self, now: UnixTime, seen: u64) {
        let _flight = self.flight.lock().await;
        {
            let mut progress = self.progress();
            if progress.finished != seen {
                return;
            }
            progress.last = Some(now);
        }
        let fetched = self.discovery.fetch(&*self.fetch).await;
        self.progress().finished += 1;
        match fetched {
            Ok(keys) => {
                self.progress().failure = None;
                self.store(keys, now);
            }
            Err(reason) => {
                tracing::warn!(issuer = self.discovery.name(), %reason, "keys could not be fetched");
                self.progress().failure = Some(reason);
            }
        }
    }

    fn store(&self, keys: KeySet, now: UnixTime) {
        let mut place = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let generation = match place.as_ref() {
            Some(before) if *before.keys == keys => before.generation,
            Some(before) => before.generation + 1,
            None => 1,
        };
        *place = Some(Snapshot { keys: Arc::new(keys), fetched_at: now, generation });
    }

    fn snapshot(&self) -> Option<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failure(&self) -> String {
        self.progress().failure.clone().unwrap_or_else(|| "they were not fetched yet".to_owned())
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
