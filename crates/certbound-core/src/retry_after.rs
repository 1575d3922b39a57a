//! The header `Retry-After` (RFC 9110, section 10.2.3).

use std::time::Duration;

use crate::time::UnixTime;

/// The longest time that a client waits. If a server requires a longer wait, the client sends the next request after
/// this time.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// Parses `Retry-After`: a number of seconds, which may have decimals, or an HTTP date. The result is at most
/// [`LONGEST`]. A date in the past gives zero. `None` means that the value has a different form; the caller must ignore
/// this value.
///
/// ```
/// use std::time::Duration;
///
/// use certbound_core::retry_after::{LONGEST, parse};
/// use certbound_core::time::UnixTime;
///
/// let now = UnixTime::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
/// assert_eq!(parse("120", now), Some(Duration::from_secs(120)));
/// assert_eq!(parse("Sun, 06 Nov 1994 08:50:00 GMT", now), Some(Duration::from_secs(23)));
/// assert_eq!(parse("86400", now), Some(LONGEST));
/// assert_eq!(parse("soon", now), None);
/// ```
pub fn parse(value: &str, now: UnixTime) -> Option<Duration> {
    let value = value.trim();
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number(whole) && is_number(decimals) {
        // The limit also keeps a long number from overflowing a duration.
        Duration::from_secs_f64(value.parse::<f64>().ok()?.min(LONGEST.as_secs_f64()))
    } else {
        UnixTime::from_http_date(value)?.since(now)
    };
    Some(wait.min(LONGEST))
}

/// Parses `Retry-After` as [`parse`] does. A date is compared with the response's own `Date`, because the clock of this
/// machine can be wrong. If the response has no valid `Date`, the date is compared with `now`.
pub fn parse_with_date(value: &str, date: Option<&str>, now: UnixTime) -> Option<Duration> {
    parse(value, date.and_then(UnixTime::from_http_date).unwrap_or(now))
}

/// Returns the number of whole seconds after which the wait has ended. A part of a second counts as a whole second.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_compared_with_the_clock_of_the_server() {
        let (value, now) = ("Sun, 06 Nov 1994 08:49:50 GMT", UnixTime::from_secs(784_111_777 + 10));
        let seconds = |date| parse_with_date(value, date, now).map(|wait| wait.as_secs());
        assert_eq!(seconds(Some("Sun, 06 Nov 1994 08:49:37 GMT")), Some(13));
        assert_eq!((seconds(None), seconds(Some("now"))), (Some(3), Some(3)));
    }

    #[test]
    fn a_part_of_a_second_is_a_second() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (1_000, 1), (1_500, 2), (3_600_000, 3_600)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }

    #[test]
    fn it_is_seconds_or_a_date_and_anything_else_is_ignored() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = UnixTime::from_secs(784_111_777);
        for (value, expected) in [
            ("5", Some(5_000)),
            (" 1.5 ", Some(1_500)),
            ("0.25", Some(250)),
            ("0", Some(0)),
            ("3600", Some(3_600_000)),
            ("3601", Some(3_600_000)),
            ("99999999999999999999", Some(3_600_000)),
            ("Sun, 06 Nov 1994 08:49:50 GMT", Some(13_000)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:50 GMT", Some(13_000)),
            ("Sun Nov  6 08:49:50 1994", Some(13_000)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(3_600_000)),
            ("-5", None),
            ("+5", None),
            ("1.", None),
            (".5", None),
            ("1.5.2", None),
            ("1e3", None),
            ("0x10", None),
            ("5 s", None),
            ("5, 6", None),
            ("٥", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("soon", None),
            ("2026-07-25T17:20:00Z", None),
        ] {
            assert_eq!(parse(value, now).map(|wait| wait.as_millis()), expected, "{value:?}");
        }
        assert_eq!(parse(&"9".repeat(10_000), now), Some(LONGEST));
    }
}
