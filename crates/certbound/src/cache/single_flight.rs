//! Single flight: all callers that wait for the same key share one load.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use foldhash::quality::RandomState;
use futures_util::future::{Shared, WeakShared};
use futures_util::{FutureExt as _, poll};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span};

use crate::error::ProviderError;

/// The future that callers share.
pub(crate) type Load<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The reason why a load ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadFailure {
    /// A callback of the load panicked.
    Panicked,
    /// The runtime of the load was shut down.
    RuntimeEnded,
}

impl From<LoadFailure> for ProviderError {
    fn from(failure: LoadFailure) -> Self {
        match failure {
            LoadFailure::Panicked => Self::Panicked,
            LoadFailure::RuntimeEnded => Self::RuntimeEnded,
        }
    }
}

type Outcome<T> = Result<T, LoadFailure>;

/// Running loads, by key. If all callers of a load are dropped, the load is dropped too.
pub(crate) struct SingleFlight<K, T>(Arc<Mutex<UnderWay<K, T>>>);

struct UnderWay<K, T> {
    loads: HashMap<K, Listed<T>, RandomState>,
    begun: u64,
}

/// A load in the list. The list does not keep the load alive.
struct Listed<T> {
    number: u64,
    load: WeakShared<Load<Outcome<T>>>,
    /// The span in which the load runs: the span of the caller that started the load.
    span: Span,
}

/// Returns the id of the caller's runtime. A key contains it if callers in different runtimes must not share a load.
pub(crate) fn this_runtime() -> Option<tokio::runtime::Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

impl<K, T> SingleFlight<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Waits for the running load of `key`, or else starts `load`. The second value is true if another caller started
    /// the load. The load runs in the span of the caller that started it, and the spans of the other callers follow
    /// from that span.
    pub(crate) async fn run(&self, key: K, load: impl FnOnce() -> Load<T>) -> (Outcome<T>, bool) {
        let (load, joined) = self.join(key, load);
        (load.await, joined)
    }

    fn join(&self, key: K, load: impl FnOnce() -> Load<T>) -> (Shared<Load<Outcome<T>>>, bool) {
        let span = Span::current();
        let mut under_way = lock(&self.0);
        let running = under_way.loads.get(&key);
        if let Some((load, leader)) = running.and_then(|it| Some((it.load.upgrade()?, it.span.clone()))) {
            drop(under_way);
            span.follows_from(&leader);
            return (load, true);
        }
        under_way.begun += 1;
        let number = under_way.begun;
        let entry = ListEntry { list: Arc::downgrade(&self.0), key: key.clone(), number };
        let load = drive(load().instrument(span.clone()), entry).boxed().shared();
        // A load that was never polled is not complete, so `downgrade` returns a weak reference.
        let listed = load.downgrade().map(|load| Listed { number, load, span });
        let ended = listed.and_then(|listed| under_way.loads.insert(key, listed));
        // If `ended` is the last owner of its span, the span closes now. A subscriber may block then.
        drop(under_way);
        drop(ended);
        (load, false)
    }

    /// Returns the number of running loads.
    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).loads.values().filter(|listed| listed.load.upgrade().is_some()).count()
    }
}

impl<K, T> Default for SingleFlight<K, T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(UnderWay { loads: HashMap::default(), begun: 0 })))
    }
}

/// Runs a load as a task, so that it makes progress without polls of a caller. The task is aborted when the last caller
/// is dropped. Without a runtime the callers poll the load themselves.
async fn drive<K: Eq + Hash, T: Send + 'static>(
    load: impl Future<Output = T> + Send + 'static,
    entry: ListEntry<K, T>,
) -> Outcome<T>
where
    ListEntry<K, T>: Send + 'static,
{
    let load = async move {
        // The entry is dropped at the end of the load, so that a later caller starts a new load.
        let _entry = entry;
        load.await
    };
    let mut load = Box::pin(AssertUnwindSafe(load).catch_unwind());
    // Many loads are ready at the first poll and need no task.
    if let Poll::Ready(ended) = poll!(&mut load) {
        return ended.map_err(|_| LoadFailure::Panicked);
    }
    let ended = match Handle::try_current() {
        Err(_) => load.await,
        Ok(runtime) => {
            let mut task = JoinSet::new();
            task.spawn_on(load, &runtime);
            match task.join_next().await {
                Some(Ok(ended)) => ended,
                // Panics are caught above. A task without a result was cancelled with its runtime.
                Some(Err(_)) | None => return Err(LoadFailure::RuntimeEnded),
            }
        }
    };
    ended.map_err(|_| LoadFailure::Panicked)
}

/// Removes a load from the list when the load ends or is dropped.
struct ListEntry<K: Eq + Hash, T> {
    list: Weak<Mutex<UnderWay<K, T>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, T> Drop for ListEntry<K, T> {
    fn drop(&mut self) {
        let Some(list) = self.list.upgrade() else { return };
        let mut under_way = lock(&list);
        // A later load may already use the key.
        let is_mine = under_way.loads.get(&self.key).is_some_and(|listed| listed.number == self.number);
        let ended = if is_mine { under_way.loads.remove(&self.key) } else { None };
        // The span closes without the lock, because a subscriber may block then.
        drop(under_way);
        drop(ended);
    }
}

fn lock<K, T>(list: &Mutex<UnderWay<K, T>>) -> MutexGuard<'_, UnderWay<K, T>> {
    // Each change of the list is one step, so the list is usable even after a panic.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    type Flights = Arc<SingleFlight<&'static str, usize>>;

    /// A load that ends at the opening of the gate. It counts its starts.
    #[derive(Clone)]
    struct Gate {
        open: Arc<Semaphore>,
        begun: Arc<AtomicUsize>,
    }

    impl Gate {
        fn closed() -> Self {
            Self { open: Arc::new(Semaphore::new(0)), begun: Arc::default() }
        }

        fn load(&self) -> Load<usize> {
            let gate = self.clone();
            let number = gate.begun.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                let _open = gate.open.acquire().await;
                number
            })
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn ten_thousand_tasks_share_one_load() {
        let (flights, gate) = (Flights::default(), Gate::closed());
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..10_000 {
            let (flights, gate, waiting) = (Arc::clone(&flights), gate.clone(), Arc::clone(&waiting));
            tasks.spawn(async move {
                let mut run = Box::pin(flights.run("key", || gate.load()));
                assert!(poll!(&mut run).is_pending());
                waiting.fetch_add(1, Ordering::SeqCst);
                run.await
            });
        }
        until(|| waiting.load(Ordering::SeqCst) == 10_000).await;
        gate.open.add_permits(1);
        let results = tasks.join_all().await;
        assert!(results.iter().all(|(result, _)| *result == Ok(0)));
        assert_eq!(results.iter().filter(|(_, joined)| !joined).count(), 1);
        assert_eq!((gate.begun(), flights.len()), (1, 0));
    }

    #[tokio::test]
    async fn a_load_outlives_the_caller_that_began_it() {
        let (flights, gate) = (Flights::default(), Gate::closed());
        let mut leader = Box::pin(flights.run("key", || gate.load()));
        assert!(poll!(&mut leader).is_pending());
        let mut follower = Box::pin(flights.run("key", || gate.load()));
        assert!(poll!(&mut follower).is_pending());
        drop(leader);
        gate.open.add_permits(1);
        assert_eq!(follower.await, (Ok(0), true));
    }

    /// A caller that is not polled does not block other callers, for example in a `select!` with a slow branch.
    #[tokio::test]
    async fn a_load_needs_no_caller_that_is_polled() {
        let (flights, gate) = (Flights::default(), Gate::closed());
        let mut caller = Box::pin(flights.run("key", || gate.load()));
        assert!(poll!(&mut caller).is_pending());
        gate.open.add_permits(1);
        until(|| lock(&flights.0).loads.is_empty()).await;
        assert_eq!(caller.await, (Ok(0), false));
    }

    #[tokio::test]
    async fn the_last_caller_that_gives_up_ends_the_load() {
        let (flights, gate) = (Flights::default(), Gate::closed());
        let mut caller = Box::pin(flights.run("key", || gate.load()));
        assert!(poll!(&mut caller).is_pending());
        assert_eq!(flights.len(), 1);
        drop(caller);
        assert_eq!(flights.len(), 0);
        // The list does not keep the load alive.
        until(|| lock(&flights.0).loads.is_empty()).await;
        until(|| Arc::strong_count(&gate.open) == 1).await;
        gate.open.add_permits(1);
        assert_eq!(flights.run("key", || gate.load()).await, (Ok(1), false));
    }

    #[tokio::test]
    async fn a_result_belongs_to_the_callers_that_waited() {
        let (flights, gate) = (Flights::default(), Gate::closed());
        gate.open.add_permits(1);
        assert_eq!(flights.run("key", || gate.load()).await, (Ok(0), false));
        assert_eq!(flights.run("key", || gate.load()).await, (Ok(1), false));
        assert_eq!(flights.run("other", || gate.load()).await, (Ok(2), false));
    }

    #[tokio::test]
    async fn a_panic_reaches_each_caller_and_the_next_load_works() {
        let (flights, gate) = (Flights::default(), Gate::closed());
        let opened = gate.clone();
        let panics = || -> Load<usize> {
            Box::pin(async move {
                let _open = opened.open.acquire().await;
                panic!("a callback panics")
            })
        };
        let mut leader = Box::pin(flights.run("key", panics));
        assert!(poll!(&mut leader).is_pending());
        let mut follower = Box::pin(flights.run("key", || gate.load()));
        assert!(poll!(&mut follower).is_pending());
        gate.open.add_permits(2);
        assert_eq!(leader.await, (Err(LoadFailure::Panicked), false));
        assert_eq!(follower.await, (Err(LoadFailure::Panicked), true));
        assert_eq!(
            flights.run("key", || Box::pin(async { panic!("a callback panics at the first poll") })).await.0,
            Err(LoadFailure::Panicked)
        );
        assert_eq!(flights.run("key", || gate.load()).await, (Ok(0), false));
    }

    #[test]
    fn a_runtime_that_ended_is_an_error_and_the_next_load_works() {
        let (flights, gate) = (Flights::default(), Gate::closed());
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ended = runtime();
        let mut caller = Box::pin(flights.run("key", || gate.load()));
        ended.block_on(async { assert!(poll!(&mut caller).is_pending()) });
        drop(ended);
        let other = runtime();
        assert_eq!(other.block_on(caller), (Err(LoadFailure::RuntimeEnded), false));
        gate.open.add_permits(1);
        assert_eq!(other.block_on(flights.run("key", || gate.load())), (Ok(1), false));
    }

    #[test]
    fn without_a_runtime_the_callers_poll_the_load() {
        let (flights, gate) = (Flights::default(), Gate::closed());
        let mut first = Box::pin(flights.run("key", || gate.load()));
        let mut second = Box::pin(flights.run("key", || gate.load()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        gate.open.add_permits(1);
        assert_eq!(second.as_mut().poll(&mut context), Poll::Ready((Ok(0), true)));
        assert_eq!(first.as_mut().poll(&mut context), Poll::Ready((Ok(0), false)));
    }
}
