//! Where the time comes from.

use certbound_core::time::UnixTime;

/// Tells the time. The machine's unless a test says otherwise.
pub trait Clock: Send + Sync + 'static {
    /// Seconds since the epoch.
    fn now(&self) -> UnixTime;
}

/// The machine's clock. A machine that believes it is before 1970 believes it is 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock seam")]
    fn now(&self) -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixTime::from_secs(since.unwrap_or_default().as_secs())
    }
}
