//! When a platform is asked again: its own tables, by the status of its answers.

use std::time::Duration;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// The instance metadata service: 404, 408, 410, 429 and 5xx, after 1, 2 and 4 s; seven times after 10 s while it
    /// updates itself (410). It is asked by its own table: `Retry-After` is not looked at.
    Imds,
    /// Every other platform: 404, 408, 429, 500, 503 and 504, three times after 1 s, or what `Retry-After` says.
    Platform,
}

/// What `Retry-After` may ask for at most.
const LONGEST: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

impl Policy {
    /// How long to wait after the answer `status`, before try number `attempt` (the first repetition is 1); nothing when
    /// there is none. The first answer decides how many there are.
    pub(super) fn delay(
        self,
        attempt: u32,
        first: u16,
        status: u16,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let repeats = match self {
            Self::Imds => matches!(status, 404 | 408 | 410 | 429 | 500..=599),
            Self::Platform => matches!(status, 404 | 408 | 429 | 500 | 503 | 504),
        };
        let most = if self == Self::Imds && first == 410 { 7 } else { 3 };
        if !repeats || attempt > most {
            return None;
        }
        Some(match self {
            Self::Imds if status == 410 => 10 * SECOND,
            Self::Imds => SECOND * 2_u32.pow((attempt - 1).min(2)),
            Self::Platform => retry_after.unwrap_or(SECOND).clamp(SECOND, LONGEST),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The delays, in seconds, of a platform that always answers the same.
    fn delays(policy: Policy, status: u16, retry_after: Option<u64>) -> Vec<u64> {
        let after = retry_after.map(Duration::from_secs);
        (1..)
            .map_while(|attempt| policy.delay(attempt, status, status, after))
            .map(|delay| delay.as_secs())
            .collect()
    }

    #[test]
    fn each_platform_has_its_table() {
        for status in [404, 408, 429, 500, 502, 599] {
            assert_eq!(delays(Policy::Imds, status, Some(30)), [1, 2, 4], "{status}");
        }
        assert_eq!(delays(Policy::Imds, 410, None), [10; 7]);
        for status in [200, 400, 401, 403, 405, 409] {
            assert!(
                delays(Policy::Imds, status, None).is_empty()
                    && delays(Policy::Platform, status, None).is_empty()
            );
        }
        for status in [404, 408, 429, 500, 503, 504] {
            assert_eq!(delays(Policy::Platform, status, None), [1, 1, 1], "{status}");
        }
        assert!(
            delays(Policy::Platform, 502, None).is_empty() && delays(Policy::Platform, 410, None).is_empty()
        );
        assert_eq!(delays(Policy::Platform, 429, Some(5)), [5, 5, 5]);
        assert_eq!(delays(Policy::Platform, 429, Some(0)), [1, 1, 1]);
        assert_eq!(delays(Policy::Platform, 429, Some(3_600)), [60, 60, 60]);
        // An update first, other trouble later: seven repetitions, by the table of the trouble.
        assert_eq!(Policy::Imds.delay(5, 410, 500, None), Some(4 * SECOND));
        assert_eq!(Policy::Imds.delay(4, 500, 410, None), None);
    }
}
