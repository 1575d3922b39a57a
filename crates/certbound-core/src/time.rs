//! Time as a value. No function of this crate reads a clock.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// A moment in whole seconds since 1970-01-01T00:00:00Z, the unit of `exp`, `nbf` and `iat` (RFC 7519, section 2).
///
/// The type has no leap seconds, fractions or time zones, and never reads a clock. Arithmetic saturates.
///
/// ```
/// use certbound_core::time::UnixTime;
/// use std::time::Duration;
///
/// let now = UnixTime::from_secs(1_785_000_000);
/// assert_eq!(now.plus(Duration::from_secs(600)).since(now), Duration::from_secs(600));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The moment `seconds` after the epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Parses a date of an HTTP header, in any form that RFC 9110 (section 5.6.7) accepts. The result is `None` for any
    /// other text and for a date before 1970.
    pub fn from_http_date(text: &str) -> Option<Self> {
        // This crate must not name `SystemTime`. Therefore this function parses the epoch instead of using a constant.
        let epoch = httpdate::parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT").ok()?;
        let since_epoch = httpdate::parse_http_date(text).ok()?.duration_since(epoch).ok()?;
        Some(Self(since_epoch.as_secs()))
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This moment plus the whole seconds of `duration`, or the largest moment if the sum is larger.
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// This moment minus the whole seconds of `duration`, or the epoch if the difference is negative.
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// Returns the time from `earlier` to this moment. It is zero if this moment is not after `earlier`.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// Writes the moment in the form of RFC 3339: `2026-07-25T17:20:00Z`. A moment after jiff's largest timestamp, which is
/// in December 9999, is written as that timestamp.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        let moment = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        f.pad(&moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixTime({self})")
    }
}

/// Writes a duration in its largest unit, for display: `329 days`, `1 hour`, `20 minutes`. The number is rounded down.
pub fn in_words(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(24 * 3600, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let seconds = duration.as_secs();
    let unit = UNITS.into_iter().find(|(length, _)| seconds >= *length);
    let (length, name) = unit.unwrap_or((1, "second"));
    let count = seconds / length;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_a_date_and_a_duration_in_words() {
        let time = UnixTime::from_secs(1_735_689_600);
        assert_eq!(time.to_string(), "2025-01-01T00:00:00Z");
        assert_eq!(format!("{time:?}"), "UnixTime(2025-01-01T00:00:00Z)");
        assert_eq!(UnixTime::from_secs(0).to_string(), "1970-01-01T00:00:00Z");
        assert!(UnixTime::from_secs(u64::MAX).to_string().starts_with("9999-12-30T"));
        for (seconds, words) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "1 minute"),
            (1_200, "20 minutes"),
            (3_600, "1 hour"),
            (28_425_600, "329 days"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
