//! A clock that stands still until it is moved.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certbound::{Clock, UnixTime};

/// So many times the others come to their turn before time passes.
const TURNS: usize = 100;

/// A clock that stands still until a test moves it. Clones are one clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Time>);

#[derive(Debug)]
struct Time {
    now: AtomicU64,
    waited: Mutex<Vec<Duration>>,
}

impl ManualClock {
    /// A clock at `now`.
    pub fn at(now: UnixTime) -> Self {
        Self(Arc::new(Time { now: AtomicU64::new(now.as_secs()), waited: Mutex::default() }))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.0.now.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// How long was waited, each time, instead of which it moved.
    pub fn waited(&self) -> Vec<Duration> {
        self.0.waited.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets it.
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

    /// Moves itself forward instead of waiting, once everything that needs no time has had its turn.
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
