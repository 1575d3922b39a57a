//! Time as a value. No function of this crate reads a clock.

use std::time::Duration;

/// A moment in whole seconds since 1970-01-01T00:00:00Z, the unit of `exp`, `nbf` and `iat` (RFC 7519, section 2).
///
/// It has no leap seconds, fractions or time zones, and it never reads a clock. Arithmetic saturates.
///
/// ```
/// use certbound_core::time::UnixTime;
/// use std::time::Duration;
///
/// let now = UnixTime::from_secs(1_785_000_000);
/// assert_eq!(now.plus(Duration::from_secs(600)).since(now), Duration::from_secs(600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The moment `seconds` after the epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This moment moved forward by whole seconds of `duration`; stops at the end of the range.
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// This moment moved back by whole seconds of `duration`; stops at the epoch.
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// Returns how long after `earlier` this moment is; zero if it is not after `earlier`.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl std::fmt::Display for UnixTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
