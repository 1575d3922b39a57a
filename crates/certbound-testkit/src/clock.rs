//! A clock for tests. It moves only when a test moves it or when the code under test waits.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certbound::UnixTime;
use certbound::clock::Clock;

/// The number of yields to other tasks before `wait` moves the time.
const TURNS: usize = 100;

/// A clock for tests. It moves only when a test moves it or when the code under test waits. Clones share one time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Time>);

#[derive(Debug)]
struct Time {
    now: AtomicU64,
    waited: Mutex<Vec<Duration>>,
}

impl ManualClock {
    /// Creates a clock that shows `now`.
    pub fn at(now: UnixTime) -> Self {
        Self(Arc::new(Time { now: AtomicU64::new(now.as_secs()), waited: Mutex::default() }))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.now.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// Returns the length of each wait. The clock did not wait, but moved forward by this length.
    pub fn waited(&self) -> Vec<Duration> {
        self.0.waited.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the clock to `now`.
    pub fn set(&self, now: UnixTime) {
        self.0.now.store(now.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.now.load(Ordering::SeqCst))
    }

    /// Yields 100 times, so that other tasks run first. Then moves the clock forward instead of waiting.
    fn wait(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = self.clone();
        Box::pin(async move {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            clock.0.waited.lock().unwrap_or_else(PoisonError::into_inner).push(time);
            clock.advance(time);
        })
    }
}
