//! The jobs for a store. The jobs run one after another in the background, so callers get a new token without waiting
//! for the store.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use certbound_core::time::UnixTime;
use tokio::runtime::{Handle, Id};
use tracing::{Instrument as _, Span};

use super::adapter::{AnyShared, call_store};
use super::{StoreError, StoreKey, entry};
use crate::cache::Entry;
use crate::span;

/// The maximum number of jobs that wait for a slow store. If more jobs wait, the oldest job is dropped.
const QUEUE: usize = 1_000;
/// The maximum number of names in `Jobs::forgotten`.
const FORGOTTEN: usize = 10_000;

pub(super) struct Writer {
    store: AnyShared,
    jobs: Mutex<Jobs>,
    /// One task writes at a time, so that the last job for a name is applied last.
    turn: tokio::sync::Mutex<()>,
    /// Whether the cache was dropped, so no caller will request the waiting tokens.
    pub(super) is_abandoned: AtomicBool,
    failures: AtomicU64,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<StoreKey>,
    by_name: HashMap<StoreKey, (u64, Job)>,
    last: u64,
    /// The runtimes in which a task writes. Each runtime has its own task, because a runtime may stop polling its
    /// tasks.
    writing: HashSet<Id>,
    /// The names of tokens that a caller removed and that the store may still contain.
    forgotten: HashSet<StoreKey>,
    /// The last time at which the limit `FORGOTTEN` was exceeded. The field is `None` if the limit was never exceeded.
    /// A stored token whose lifetime began at this time or earlier is not used.
    ignored_until: Option<UnixTime>,
}

#[derive(Clone)]
enum Job {
    Save(Entry),
    Remove,
}

impl Job {
    /// Returns the span of the job. The correlation id of a saved token is the id of the request that returned the
    /// token.
    fn span(&self) -> Span {
        match self {
            Self::Save(held) => {
                let span = span::store("save");
                span.record("certbound.correlation_id", tracing::field::display(held.correlation_id));
                span
            }
            Self::Remove => span::store("remove"),
        }
    }
}

impl Writer {
    pub(super) fn new(store: AnyShared) -> Arc<Self> {
        Arc::new(Self {
            store,
            jobs: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            is_abandoned: AtomicBool::new(false),
            failures: AtomicU64::new(0),
        })
    }

    pub(super) fn save(self: &Arc<Self>, held: &Entry) {
        self.add(StoreKey::of(&held.key.as_ref()), Job::Save(held.clone()));
    }

    /// Removes the store's entry with this name, if it exists.
    pub(super) fn remove(self: &Arc<Self>, name: StoreKey) {
        self.add(name, Job::Remove);
    }

    /// Removes an entry as [`Writer::remove`] does. From now on, the entry that the store had at `now` is not used.
    pub(super) fn forget(self: &Arc<Self>, name: StoreKey, now: UnixTime) {
        let mut jobs = self.jobs();
        jobs.forgotten.insert(name);
        if jobs.forgotten.len() > FORGOTTEN {
            jobs.forgotten.clear();
            jobs.ignored_until = jobs.ignored_until.max(Some(now));
        }
        // Without a common lock, the end of a running save could remove the name from `forgotten`.
        self.add_to(jobs, name, Job::Remove);
    }

    /// Returns the token that waits to be saved under this name.
    pub(super) fn pending(&self, name: &StoreKey) -> Option<Entry> {
        match self.jobs().by_name.get(name) {
            Some((_, Job::Save(held))) => Some(held.clone()),
            _ => None,
        }
    }

    /// Returns whether a stored token must not be used. If so, the function also removes the token from the store.
    pub(super) fn refuses(self: &Arc<Self>, name: &StoreKey, found: Option<&Entry>) -> bool {
        let jobs = self.jobs();
        let forgotten = jobs.forgotten.contains(name);
        let known = jobs.by_name.contains_key(name);
        let old = found.is_some_and(|held| Some(held.expiry.counts_from()) <= jobs.ignored_until);
        drop(jobs);
        if (forgotten || old) && !known {
            self.remove(*name);
        }
        forgotten || old
    }

    fn add(self: &Arc<Self>, name: StoreKey, job: Job) {
        self.add_to(self.jobs(), name, job);
    }

    fn add_to(self: &Arc<Self>, mut jobs: MutexGuard<'_, Jobs>, name: StoreKey, job: Job) {
        jobs.last += 1;
        let job = (jobs.last, job);
        if jobs.by_name.insert(name, job).is_none() {
            jobs.waiting.push_back(name);
        }
        let given_up = if jobs.by_name.len() > QUEUE { jobs.waiting.pop_front() } else { None };
        let given_up = given_up.and_then(|name| jobs.by_name.remove(&name));
        // Without a runtime, the task for a later job, or a flush, runs this job too.
        let runtime = Handle::try_current().ok().filter(|runtime| jobs.writing.insert(runtime.id()));
        drop(jobs);
        if given_up.is_some() {
            let error = StoreError::new("the store is too slow: its queue of jobs is full");
            self.failed(&error, "a token is cached in memory only, or was not removed from the store");
        }
        if let Some(runtime) = runtime {
            let writes = Writes { writer: Arc::clone(self), runtime: runtime.id() };
            runtime.spawn(async move { writes.writer.write_all(Some(writes.runtime)).await });
        }
    }

    /// Runs jobs until no job waits. Parallel callers take turns, one job at a time. `runtime` is the runtime of a
    /// background task, and `None` for a flush.
    pub(super) async fn write_all(&self, runtime: Option<Id>) {
        loop {
            let _turn = self.turn.lock().await;
            let Some((name, number, job)) = self.next(runtime) else { return };
            let mut at = At { writer: self, name, given_up: true };
            let span = job.span();
            let written = self.write(&name, job).instrument(span.clone()).await;
            if written.is_err() {
                span::failed(&span, "store_failed");
            }
            drop(span);
            at.given_up = false;
            self.done(&name, number, written);
        }
    }

    async fn write(&self, name: &StoreKey, job: Job) -> Result<(), StoreError> {
        match job {
            Job::Save(held) => match entry::write(&held, name) {
                Some(entry) => call_store(async { self.store.save(name, entry).await }).await,
                None => Err(StoreError::new("the token cannot be written as JSON")),
            },
            Job::Remove => call_store(async { self.store.remove(name).await }).await,
        }
    }

    fn next(&self, runtime: Option<Id>) -> Option<(StoreKey, u64, Job)> {
        let mut jobs = self.jobs();
        while let Some(name) = jobs.waiting.pop_front() {
            // A name without a job belongs to a dropped job.
            if let Some((number, job)) = jobs.by_name.get(&name) {
                return Some((name, *number, job.clone()));
            }
        }
        // The task finds the queue empty and unregisters itself under one lock, so a job that is added later starts a
        // new task.
        if let Some(runtime) = runtime {
            jobs.writing.remove(&runtime);
        }
        None
    }

    fn done(&self, name: &StoreKey, number: u64, written: Result<(), StoreError>) {
        let mut jobs = self.jobs();
        match jobs.by_name.get(name) {
            // A newer job for this name was added in the meantime.
            Some((current, _)) if *current != number => jobs.waiting.push_back(*name),
            _ => {
                jobs.by_name.remove(name);
                if written.is_ok() {
                    jobs.forgotten.remove(name);
                }
            }
        }
        if let Err(error) = written {
            // If the cache was dropped, no caller needs the remaining jobs, so a failure ends them.
            if self.is_abandoned.load(Ordering::Relaxed) {
                (jobs.waiting, jobs.by_name) = Default::default();
            }
            drop(jobs);
            self.failed(&error, "the token is cached in memory only, or was not removed from the store");
        }
    }

    /// Counts and logs a failure. `consequence` describes the effect of the failure.
    pub(super) fn failed(&self, error: &StoreError, consequence: &'static str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "{consequence}");
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // No code panics while the lock is held.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The job that is running. If its task is dropped, the job becomes the first of the waiting jobs.
struct At<'w> {
    writer: &'w Writer,
    name: StoreKey,
    given_up: bool,
}

impl Drop for At<'_> {
    fn drop(&mut self) {
        if self.given_up {
            self.writer.jobs().waiting.push_front(self.name);
        }
    }
}

/// The one task that writes in its runtime. If the runtime ends, the next job starts another task.
struct Writes {
    writer: Arc<Writer>,
    runtime: Id,
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.writer.jobs().writing.remove(&self.runtime);
    }
}
