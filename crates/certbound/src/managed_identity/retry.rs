//! The retries of requests to a platform. Each kind of platform has its own table by HTTP status.

use std::time::{Duration, UNIX_EPOCH};

use certbound_core::time::UnixTime;

/// The table of retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// IMDS. It retries after 404, 408, 410, 429, 5xx and a timeout: three times, after 1, 2 and 4 s. After 410, which
    /// IMDS returns during its own update, it retries seven times, each after 10 s. It ignores `Retry-After`.
    Imds,
    /// Probes of IMDS. They are retried as for `Imds`, but not after 404 and a timeout, which mean that IMDS does not
    /// exist.
    Probe,
    /// Every other platform. It retries after 404, 408, 429, 500, 503, 504 and a timeout: three times, after 1 s or the
    /// time of `Retry-After`.
    Platform,
}

/// The outcome of one attempt. Connection failures are not retried: the endpoint is local, so it is either present or
/// absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Status(u16),
    /// The connection was established, and the response did not arrive in time.
    TimedOut,
}

/// The longest time that is used from `Retry-After`.
const LONGEST: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

impl Policy {
    /// Returns the time to wait after `outcome` before retry number `attempt` (the first retry is 1), or `None` if
    /// there is no retry. The first outcome determines the maximum number of retries.
    pub(super) fn delay(
        self,
        attempt: u32,
        first: Outcome,
        outcome: Outcome,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        use Outcome::{Status, TimedOut};

        let repeats = match self {
            Self::Imds => matches!(outcome, Status(404 | 408 | 410 | 429 | 500..=599) | TimedOut),
            Self::Probe => matches!(outcome, Status(408 | 410 | 429 | 500..=599)),
            Self::Platform => matches!(outcome, Status(404 | 408 | 429 | 500 | 503 | 504) | TimedOut),
        };
        let most = if self != Self::Platform && first == Status(410) { 7 } else { 3 };
        if !repeats || attempt > most {
            return None;
        }
        Some(match self {
            Self::Platform => retry_after.unwrap_or(SECOND).clamp(SECOND, LONGEST),
            _ if outcome == Status(410) => 10 * SECOND,
            _ => SECOND * 2_u32.pow((attempt - 1).min(2)),
        })
    }
}

/// Parses `Retry-After`, which is a number of seconds or a date (RFC 9110, section 10.2.3).
pub(super) fn asked_to_wait(value: &str, now: UnixTime) -> Option<Duration> {
    let value = value.trim();
    if let Some(seconds) = value.parse().ok().filter(|seconds: &f64| *seconds >= 0.0) {
        // `Policy::delay` limits the time to `LONGEST`. The limit here only prevents an overflow.
        return Some(Duration::from_secs_f64(seconds.min(2.0 * LONGEST.as_secs_f64())));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date = date.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_secs(now.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Status, TimedOut};
    use super::*;

    /// Returns the delays, in seconds, for a platform with the same outcome each time.
    fn delays(policy: Policy, outcome: Outcome, retry_after: Option<u64>) -> Vec<u64> {
        let after = retry_after.map(Duration::from_secs);
        (1..)
            .map_while(|attempt| policy.delay(attempt, outcome, outcome, after))
            .map(|delay| delay.as_secs())
            .collect()
    }

    #[test]
    fn each_platform_has_its_table() {
        for status in [408, 429, 500, 502, 599] {
            assert_eq!(delays(Policy::Imds, Status(status), Some(30)), [1, 2, 4], "{status}");
            assert_eq!(delays(Policy::Probe, Status(status), Some(30)), [1, 2, 4], "{status}");
        }
        for outcome in [Status(404), TimedOut] {
            assert_eq!(delays(Policy::Imds, outcome, None), [1, 2, 4], "{outcome:?}");
            assert!(delays(Policy::Probe, outcome, None).is_empty(), "{outcome:?}");
            assert_eq!(delays(Policy::Platform, outcome, None), [1, 1, 1], "{outcome:?}");
        }
        assert_eq!(delays(Policy::Imds, Status(410), None), [10; 7]);
        assert_eq!(delays(Policy::Probe, Status(410), None), [10; 7]);
        for status in [200, 400, 401, 403, 405, 409] {
            for policy in [Policy::Imds, Policy::Probe, Policy::Platform] {
                assert!(delays(policy, Status(status), None).is_empty(), "{policy:?} {status}");
            }
        }
        for status in [408, 429, 500, 503, 504] {
            assert_eq!(delays(Policy::Platform, Status(status), None), [1, 1, 1], "{status}");
        }
        for status in [410, 502] {
            assert!(delays(Policy::Platform, Status(status), None).is_empty(), "{status}");
        }
        assert_eq!(delays(Policy::Platform, Status(429), Some(5)), [5, 5, 5]);
        assert_eq!(delays(Policy::Platform, Status(429), Some(0)), [1, 1, 1]);
        assert_eq!(delays(Policy::Platform, Status(429), Some(3_600)), [60, 60, 60]);
        // If the first outcome is 410 and a later outcome is 500, there are seven retries with the delays for 500.
        assert_eq!(Policy::Imds.delay(5, Status(410), Status(500), None), Some(4 * SECOND));
        assert_eq!(Policy::Imds.delay(4, Status(500), Status(410), None), None);
    }

    #[test]
    fn what_is_asked_for_is_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = UnixTime::from_secs(784_111_777);
        for (value, expected) in [
            ("5", Some(5_000)),
            (" 1.5 ", Some(1_500)),
            ("0", Some(0)),
            ("99999999999999999999", Some(120_000)),
            ("Sun, 06 Nov 1994 08:49:50 GMT", Some(13_000)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:50 GMT", Some(13_000)),
            ("Sun Nov  6 08:49:50 1994", Some(13_000)),
            ("-5", None),
            ("NaN", None),
            ("", None),
            ("soon", None),
        ] {
            let asked = asked_to_wait(value, now).map(|asked| asked.as_millis());
            assert_eq!(asked, expected, "{value:?}");
        }
    }
}
