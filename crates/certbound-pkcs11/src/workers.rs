//! Threads that call a module. A caller waits for a limited time, so that a hanging module blocks no caller forever.

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicIsize, AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads with a state of type `S` each, for example a session. A thread starts when all others are busy.
///
/// A hanging call cannot be ended: its thread is lost until the call returns. The number of threads is bounded, and if
/// all of them are lost, calls fail at once.
pub(crate) struct Workers<S> {
    shared: Arc<Shared<S>>,
    limit: Duration,
}

struct Shared<S> {
    queue: Mutex<Queue<S>>,
    ready: Condvar,
    /// A thread notifies this condition after it has dropped its state.
    left: Condvar,
    /// The number of threads whose caller has stopped waiting for them. It can be negative for a moment: a call can end
    /// before its caller has counted its thread.
    lost: AtomicIsize,
    at_most: usize,
}

struct Queue<S> {
    jobs: VecDeque<Job<S>>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

/// Runs a call with the state of the thread. It calls the function after the call and before the caller gets the result.
type Run<S> = Box<dyn FnOnce(&mut S, &dyn Fn()) + Send>;

struct Job<S> {
    run: Run<S>,
    progress: Arc<AtomicU8>,
}

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const ABANDONED: u8 = 2;
const DONE: u8 = 3;

/// The maximum time that a drop of the workers waits for their threads.
const ENDING: Duration = Duration::from_secs(1);

/// The reason why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoResult {
    /// The time limit was reached, or all threads are lost.
    TimedOut,
    /// The thread could not be started, or the call panicked.
    Failed,
}

impl<S: Default + 'static> Workers<S> {
    pub(crate) fn new(at_most: usize, limit: Duration) -> Self {
        let queue = Queue { jobs: VecDeque::new(), threads: 0, idle: 0, is_closed: false };
        let shared = Shared {
            queue: Mutex::new(queue),
            ready: Condvar::new(),
            left: Condvar::new(),
            lost: AtomicIsize::new(0),
            at_most: at_most.max(1),
        };
        Self { shared: Arc::new(shared), limit }
    }

    /// Returns the time that a caller waits.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs `work` on a thread, and waits for its result.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        self.run_within(self.limit, work)
    }

    /// Runs `work` on a thread, and waits at most `limit` for its result.
    pub(crate) fn run_within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        let lost = usize::try_from(self.shared.lost.load(Ordering::SeqCst)).unwrap_or(0);
        if lost >= self.shared.at_most {
            return Err(NoResult::TimedOut);
        }
        let (answer, answered) = sync_channel(1);
        let progress = Arc::new(AtomicU8::new(WAITING));
        let run = Box::new(move |state: &mut S, done: &dyn Fn()| {
            let result = work(state);
            done();
            // The caller may have stopped waiting.
            let _ = answer.send(result);
        });
        self.submit(Job { run, progress: Arc::clone(&progress) })?;
        match answered.recv_timeout(limit) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Disconnected) => Err(NoResult::Failed),
            Err(RecvTimeoutError::Timeout) => {
                if progress.swap(ABANDONED, Ordering::SeqCst) == RUNNING {
                    self.shared.lost.fetch_add(1, Ordering::SeqCst);
                }
                Err(NoResult::TimedOut)
            }
        }
    }

    fn submit(&self, job: Job<S>) -> Result<(), NoResult> {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(job);
        if queue.idle >= queue.jobs.len() || queue.threads >= self.shared.at_most {
            self.shared.ready.notify_one();
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("certbound-pkcs11".to_owned());
        match thread.spawn(move || work(&shared)) {
            Ok(_) => {
                queue.threads += 1;
                Ok(())
            }
            Err(_) if queue.threads > 0 => Ok(()),
            Err(_) => {
                queue.jobs.clear();
                Err(NoResult::Failed)
            }
        }
    }
}

impl<S> Drop for Workers<S> {
    /// Ends the threads, and waits until they have dropped their states: a call into a module after the end of `main`
    /// can crash the process. The wait excludes a thread whose caller gave it up, and a thread that drops its own
    /// workers.
    fn drop(&mut self) {
        let own = usize::from(WORKS_FOR.get() == self.shared.id());
        let mut queue = self.shared.lock();
        queue.is_closed = true;
        self.shared.ready.notify_all();
        let is_running = |queue: &mut Queue<S>| {
            let lost = usize::try_from(self.shared.lost.load(Ordering::SeqCst)).unwrap_or(0);
            queue.threads > lost + own
        };
        // A module that hangs delays the process by at most `ENDING`.
        let _ = self.shared.left.wait_timeout_while(queue, ENDING, is_running);
    }
}

impl<S> Shared<S> {
    /// Returns a number that no other workers have while these workers exist.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn lock(&self) -> MutexGuard<'_, Queue<S>> {
        // No code panics while the lock is held, and every intermediate state is usable.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next job. Returns `None` if the workers were dropped. `is_idle` is true if the thread is already
    /// counted as idle.
    fn next(&self, is_idle: bool) -> Option<Job<S>> {
        let mut queue = self.lock();
        queue.idle += usize::from(!is_idle);
        while queue.jobs.is_empty() && !queue.is_closed {
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.idle -= 1;
        queue.jobs.pop_front()
    }
}

/// Removes a thread from the count, also if its call panicked. If no thread is left, the callers of the waiting jobs get
/// an error at once.
struct Leaving<'a, S>(&'a Shared<S>);

impl<S> Drop for Leaving<'_, S> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.threads -= 1;
        let without_thread = if queue.threads == 0 { mem::take(&mut queue.jobs) } else { VecDeque::new() };
        drop(queue);
        drop(without_thread);
        self.0.left.notify_all();
    }
}

thread_local! {
    /// [`Shared::id`] of the workers to which the thread belongs, or 0.
    static WORKS_FOR: Cell<usize> = const { Cell::new(0) };
}

fn work<S: Default>(shared: &Shared<S>) {
    WORKS_FOR.set(shared.id());
    let _leaving = Leaving(shared);
    let (mut state, mut is_idle) = (S::default(), false);
    while let Some(Job { run, progress }) = shared.next(is_idle) {
        is_idle = false;
        let starts = progress.compare_exchange(WAITING, RUNNING, Ordering::SeqCst, Ordering::SeqCst);
        if starts.is_err() {
            continue;
        }
        let _ending = Ending { progress: &progress, lost: &shared.lost };
        // The thread counts as idle before the caller gets the result, so the caller's next call starts no new thread.
        run(&mut state, &|| shared.lock().idle += 1);
        is_idle = true;
    }
}

/// Marks a call as done, also if it panicked. A thread whose caller has stopped waiting is then no longer lost.
struct Ending<'a> {
    progress: &'a AtomicU8,
    lost: &'a AtomicIsize,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.progress.swap(DONE, Ordering::SeqCst) == ABANDONED {
            self.lost.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_thread_keeps_its_state_and_no_more_threads_than_allowed_start() {
        let workers = Arc::new(Workers::<usize>::new(2, LONG));
        for expected in 1..=3 {
            let count = workers.run(|state| {
                *state += 1;
                *state
            });
            assert_eq!(count, Ok(expected), "one thread is enough for calls one after the other");
        }
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let workers = Arc::clone(&workers);
                std::thread::spawn(move || workers.run(|_| std::thread::current().id()))
            })
            .collect();
        let mut threads: Vec<_> = callers.into_iter().map(|it| it.join().unwrap().unwrap()).collect();
        threads.sort_by_key(|id| format!("{id:?}"));
        threads.dedup();
        assert!(threads.len() <= 2, "{threads:?}");
    }

    #[test]
    fn a_call_that_hangs_is_given_up_and_its_thread_is_used_again_when_it_returns() {
        let workers = Workers::<()>::new(1, Duration::from_millis(20));
        let hung = Arc::new(Barrier::new(2));
        let hangs = Arc::clone(&hung);
        assert_eq!(workers.run(move |()| hangs.wait().is_leader()), Err(NoResult::TimedOut));
        assert_eq!(workers.run(|()| ()), Err(NoResult::TimedOut), "the only thread is lost");
        assert!(workers.shared.lock().jobs.is_empty(), "a call that cannot be run is not queued");
        hung.wait();
        while workers.shared.lost.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        let again = Workers { shared: Arc::clone(&workers.shared), limit: LONG };
        assert_eq!(again.run(|()| 7), Ok(7));
    }

    #[test]
    fn a_call_that_panics_after_it_was_given_up_is_not_counted_as_lost() {
        let workers = Workers::<()>::new(1, Duration::from_millis(20));
        let hung = Arc::new(Barrier::new(2));
        let hangs = Arc::clone(&hung);
        let given_up: Result<(), _> = workers.run(move |()| {
            hangs.wait();
            panic!("on purpose");
        });
        assert_eq!(given_up, Err(NoResult::TimedOut));
        assert_eq!(workers.shared.lost.load(Ordering::SeqCst), 1);
        hung.wait();
        while workers.shared.lock().threads > 0 {
            std::thread::yield_now();
        }
        assert_eq!(workers.shared.lost.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn the_states_of_threads_are_dropped_before_their_owner_is_gone() {
        static DROPPED: AtomicIsize = AtomicIsize::new(0);
        #[derive(Default)]
        struct Slow;
        impl Drop for Slow {
            fn drop(&mut self) {
                // Other threads run first.
                for _ in 0..1_000 {
                    std::thread::yield_now();
                }
                DROPPED.fetch_add(1, Ordering::SeqCst);
            }
        }
        let workers = Workers::<Slow>::new(1, LONG);
        assert_eq!(workers.run(|_| ()), Ok(()));
        // The thread may not be idle yet.
        drop(workers);
        assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
        // A thread of other workers waits too.
        let workers = Workers::<Slow>::new(1, LONG);
        assert_eq!(workers.run(|_| ()), Ok(()));
        let dropped = Workers::<()>::new(1, LONG).run(move |()| {
            drop(workers);
            DROPPED.load(Ordering::SeqCst)
        });
        assert_eq!(dropped, Ok(2));
    }

    #[test]
    fn callers_that_wait_for_a_thread_that_panics_get_an_error() {
        let workers = Arc::new(Workers::<()>::new(1, LONG));
        let begun = Arc::new(Barrier::new(2));
        let call = {
            let (workers, begun) = (Arc::clone(&workers), Arc::clone(&begun));
            std::thread::spawn(move || -> Result<(), NoResult> {
                let shared = Arc::clone(&workers.shared);
                workers.run(move |()| {
                    begun.wait();
                    while shared.lock().jobs.is_empty() {
                        std::thread::yield_now();
                    }
                    panic!("on purpose")
                })
            })
        };
        begun.wait();
        assert_eq!(workers.run(|()| 7), Err(NoResult::Failed));
        assert_eq!(call.join().unwrap(), Err(NoResult::Failed));
    }

    #[test]
    fn a_call_that_panics_is_an_error_and_the_next_call_has_a_new_thread() {
        let workers = Workers::<()>::new(1, LONG);
        let panics: Result<(), _> = workers.run(|()| panic!("on purpose"));
        assert_eq!(panics, Err(NoResult::Failed));
        while workers.shared.lock().threads > 0 {
            std::thread::yield_now();
        }
        assert_eq!(workers.run(|()| 7), Ok(7));
    }
}
