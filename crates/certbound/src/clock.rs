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
    /// by the runtime's timer, which must be enabled; outside of a runtime by a thread.
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
        // Nobody may wait any more.
        let _ = over.send(());
    });
    match waiting {
        Ok(_) => waits.await.unwrap_or_default(),
        // No thread is to be had: this one is nobody else's, since there is no runtime.
        Err(_) => std::thread::sleep(time),
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
    fn outside_of_a_runtime_it_waits_too() {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut waiting = pin!(SystemClock::new().wait(Duration::from_millis(1)));
        while waiting.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            std::thread::park();
        }
    }
}
