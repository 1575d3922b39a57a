//! The only reader of time.

use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use certbound_core::time::UnixTime;

/// Where a client reads the time. Implement it to run against a clock of your own; tests never sleep.
pub trait Clock: Send + Sync + 'static {
    /// The current time of day, in whole seconds. Read once for each cache hit.
    fn now(&self) -> UnixTime;

    /// Time since an arbitrary fixed moment, never running backwards; used for durations in details only.
    fn monotonic(&self) -> Duration;

    /// Waits: before a request is tried again, and for a service that does not answer while a token still works. Default:
    /// by the runtime's timer.
    fn wait(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    #[expect(clippy::disallowed_methods, reason = "this is the one seam through which time comes in")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one seam through which time comes in")]
    fn now(&self) -> UnixTime {
        // A clock set before 1970 reads as 1970, at which nothing is valid yet: that fails closed.
        UnixTime::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
