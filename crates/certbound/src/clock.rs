//! The clock of a client. Other modules read the time of day only by this clock.

use std::pin::Pin;
use std::time::{Duration, Instant};

pub use certbound_core::time::UnixTime;

/// The time source of a client. Implement this trait to use your own clock, for example in tests.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time of day in whole seconds. Each cache hit calls this function once.
    fn now(&self) -> UnixTime;

    /// Returns the time since an arbitrary fixed moment. The result never decreases. The library uses the result only
    /// for durations and time limits.
    fn monotonic(&self) -> Duration;

    /// Returns a future that completes after `time`. The library uses the future for the wait before a retry and for
    /// time limits, such as the limit of the wait for a service while an older token is still valid. The default is the
    /// timer of the tokio runtime, which must be enabled. Outside of a runtime, the default uses a thread.
    fn wait(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match tokio::runtime::Handle::try_current() {
            Ok(_) => Box::pin(tokio::time::sleep(time)),
            Err(_) => Box::pin(by_thread(time)),
        }
    }
}

async fn by_thread(time: Duration) {
    let (over, waits) = tokio::sync::oneshot::channel();
    let waiting = std::thread::Builder::new().name("certbound-wait".to_owned()).spawn(move || {
        std::thread::sleep(time);
        // The receiver may have been dropped already.
        let _ = over.send(());
    });
    match waiting {
        Ok(_) => waits.await.unwrap_or_default(),
        // No thread can be started. This code runs outside of tokio, so blocking this thread delays no task of tokio.
        Err(_) => std::thread::sleep(time),
    }
}

/// The clock of the machine.
///
/// On Linux the time of day is up to ten milliseconds late. A certificate whose validity begins in this moment can
/// therefore be refused for ten milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Returns a clock whose monotonic time starts at zero now.
    #[expect(clippy::disallowed_methods, reason = "only this type may read the system clock")]
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
    fn now(&self) -> UnixTime {
        // A clock that is set before 1970 reads as 1970. At that time no certificate is valid, so requests with a
        // certificate fail.
        UnixTime::from_secs(seconds_since_1970().unwrap_or(0))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Reads the coarse clock of Linux, because every cache hit reads the time. The coarse clock is up to ten milliseconds
/// late, and a read takes a fifth of the time of the exact clock.
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "only this module may read the system clock")]
fn seconds_since_1970() -> Option<u64> {
    u64::try_from(rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec).ok()
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "only this module may read the system clock")]
fn seconds_since_1970() -> Option<u64> {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::Thread;

    use super::*;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    #[test]
    fn the_time_of_day_is_the_time_of_the_standard_library() {
        let seconds = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let (before, now, after) = (seconds(), SystemClock::new().now().as_secs(), seconds());
        // The coarse clock may be in the previous second.
        assert!((before - 1..=after).contains(&now), "{before} {now} {after}");
    }

    #[test]
    fn outside_of_a_runtime_it_waits_too() {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut waiting = pin!(SystemClock::new().wait(Duration::from_millis(1)));
        while waiting.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            std::thread::park();
        }
    }
}
