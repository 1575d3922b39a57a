//! The clock of a verifier.

use certbound_core::time::UnixTime;

/// A clock. A verifier uses [`SystemClock`] unless the builder sets another clock.
pub trait Clock: Send + Sync + 'static {
    /// The current time, in seconds since the epoch.
    fn now(&self) -> UnixTime;
}

/// The machine's clock. A time before 1970 counts as 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "only this type may read the system clock")]
    fn now(&self) -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixTime::from_secs(since.unwrap_or_default().as_secs())
    }
}
