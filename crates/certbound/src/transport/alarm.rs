//! When an exchange is given up.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::{Instant, Sleep, sleep};

/// A timer that stays with a connection: to put one off costs next to nothing, where a new one wakes up what waits for the
/// network. Of one runtime, as its connection is.
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep(Duration::ZERO)))
    }

    /// What `future` comes to, if it does within `limit`.
    pub(super) async fn within<F: Future + Unpin>(
        &mut self,
        limit: Duration,
        future: F,
    ) -> Option<F::Output> {
        self.0.as_mut().reset(after(limit));
        match select(future, self.0.as_mut()).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }
}

/// As good as never, where the limit is longer than time goes.
fn after(limit: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + YEARS)
}
