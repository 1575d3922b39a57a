//! The tables of retries, one for each kind of service.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use crate::error::{Phase, TransportError};

/// The rules for retries of a request: the outcomes that are retried, the number of retries, and the waits.
#[derive(Debug)]
pub(crate) struct Table {
    statuses: &'static [RangeInclusive<u16>],
    /// Whether the request is sent again if the answer does not arrive in time.
    after_timeout: bool,
    /// Whether the request is sent again if the connection cannot be opened. The field is false for services on this
    /// machine, because these services are either present or absent.
    if_unsent: bool,
    /// The seconds before each retry.
    waits: &'static [u64],
    /// Whether status 410 has a separate number of retries and separate waits. IMDS returns this status while it is
    /// updated.
    waits_for_update: bool,
    retry_after: RetryAfter,
    /// Whether a random time is added to each wait.
    pub(super) jitter: bool,
}

/// The effect of `Retry-After`.
#[derive(Debug)]
enum RetryAfter {
    Ignored,
    /// The time in the header replaces the wait, within [`LIMITS`].
    Waits,
    /// There is no retry, because the service usually asks for a longer wait than the wait of a retry.
    Ends,
}

/// The requests for tokens to a token service, in both legs, and the requests for the documents of an OpenID issuer or
/// an AD FS server.
pub(crate) static TOKEN_SERVICE: Table = Table {
    statuses: &[500..=599],
    after_timeout: true,
    if_unsent: true,
    waits: &[1],
    waits_for_update: false,
    retry_after: RetryAfter::Ends,
    jitter: true,
};

/// The requests to the metadata service for the region. The time limit of the detection leaves no time for a second
/// retry.
pub(crate) static REGION: Table = Table {
    statuses: &[410..=410, 429..=429, 500..=599],
    after_timeout: false,
    if_unsent: false,
    waits: &[1],
    waits_for_update: false,
    retry_after: RetryAfter::Ignored,
    jitter: false,
};

/// The requests to IMDS.
#[cfg(any(feature = "managed-identity", test))]
pub(crate) static IMDS: Table = Table {
    statuses: &[404..=404, 408..=408, 410..=410, 429..=429, 500..=599],
    after_timeout: true,
    if_unsent: false,
    waits: &[1, 2, 4],
    waits_for_update: true,
    retry_after: RetryAfter::Ignored,
    jitter: false,
};

/// The probes of IMDS. They are not repeated after status 404 or a timeout, because IMDS then does not exist.
#[cfg(any(feature = "managed-identity", test))]
pub(crate) static PROBE: Table = Table {
    statuses: &[408..=408, 410..=410, 429..=429, 500..=599],
    after_timeout: false,
    if_unsent: false,
    waits: &[1, 2, 4],
    waits_for_update: true,
    retry_after: RetryAfter::Ignored,
    jitter: false,
};

/// The requests to every other platform.
#[cfg(any(feature = "managed-identity", test))]
pub(crate) static PLATFORM: Table = Table {
    statuses: &[404..=404, 408..=408, 429..=429, 500..=500, 503..=504],
    after_timeout: true,
    if_unsent: false,
    waits: &[1, 1, 1],
    waits_for_update: false,
    retry_after: RetryAfter::Waits,
    jitter: false,
};

/// The retries during an update of IMDS, and the seconds before each of them.
const RETRIES_IN_UPDATE: u32 = 7;
const WAIT_IN_UPDATE: u64 = 10;
/// The shortest and the longest wait by `Retry-After`.
const LIMITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// The outcome of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Status(u16),
    /// The request was sent, and the answer did not arrive in time.
    TimedOut,
    /// The connection was not opened, so no byte of the request was sent.
    Unsent,
    /// The connection broke while it was used, or another attempt would fail in the same way.
    Failed,
}

impl Outcome {
    pub(super) fn of(sent: &Result<Response<Bytes>, TransportError>) -> Self {
        match sent {
            Ok(answer) => Self::Status(answer.status().as_u16()),
            Err(TransportError::TimedOut { phase: Phase::Exchange, .. }) => Self::TimedOut,
            Err(error) if error.failed_to_connect() => Self::Unsent,
            Err(_) => Self::Failed,
        }
    }
}

impl Table {
    /// Returns the wait after `outcome` before retry number `retry` (from 1), or `None` if there is no retry. The first
    /// outcome determines the number of retries.
    pub(super) fn wait(
        &self,
        retry: u32,
        first: Outcome,
        outcome: Outcome,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let repeats = match outcome {
            Outcome::Status(status) => self.statuses.iter().any(|range| range.contains(&status)),
            Outcome::TimedOut => self.after_timeout,
            Outcome::Unsent => self.if_unsent,
            Outcome::Failed => false,
        };
        let in_update = |outcome| self.waits_for_update && outcome == Outcome::Status(410);
        let most = match in_update(first) {
            true => RETRIES_IN_UPDATE,
            false => u32::try_from(self.waits.len()).unwrap_or(u32::MAX),
        };
        if !repeats || retry > most {
            return None;
        }
        match (&self.retry_after, retry_after) {
            (RetryAfter::Ends, Some(_)) => return None,
            (RetryAfter::Waits, Some(asked)) => {
                let [shortest, longest] = LIMITS;
                return Some(asked.clamp(shortest, longest));
            }
            _ => {}
        }
        // After the last entry of the table, each wait is as long as that entry.
        let at = usize::try_from(retry).unwrap_or(usize::MAX).min(self.waits.len());
        let usual = at.checked_sub(1).and_then(|at| self.waits.get(at)).copied()?;
        Some(Duration::from_secs(if in_update(outcome) { WAIT_IN_UPDATE } else { usual }))
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Failed, Status, TimedOut, Unsent};
    use super::*;

    /// Returns the waits, in seconds, for a service with the same outcome each time.
    fn waits(table: &Table, outcome: Outcome, retry_after: Option<u64>) -> Vec<u64> {
        let after = retry_after.map(Duration::from_secs);
        (1..)
            .map_while(|retry| table.wait(retry, outcome, outcome, after))
            .map(|wait| wait.as_secs())
            .collect()
    }

    #[test]
    fn a_token_request_is_repeated_once_and_never_after_a_4xx_or_retry_after() {
        for status in 500..=599 {
            assert_eq!(waits(&TOKEN_SERVICE, Status(status), None), [1], "{status}");
            for after in [0, 1, 3_600] {
                assert!(waits(&TOKEN_SERVICE, Status(status), Some(after)).is_empty(), "{status} {after}");
            }
        }
        for outcome in (100..500).chain(600..1_000).map(Status).chain([Failed]) {
            assert!(waits(&TOKEN_SERVICE, outcome, None).is_empty(), "{outcome:?}");
        }
        for outcome in [TimedOut, Unsent] {
            assert_eq!(waits(&TOKEN_SERVICE, outcome, None), [1], "{outcome:?}");
        }
    }

    #[test]
    fn each_platform_has_its_table() {
        for status in [408, 429, 500, 502, 599] {
            assert_eq!(waits(&IMDS, Status(status), Some(30)), [1, 2, 4], "{status}");
            assert_eq!(waits(&PROBE, Status(status), Some(30)), [1, 2, 4], "{status}");
        }
        for outcome in [Status(404), TimedOut] {
            assert_eq!(waits(&IMDS, outcome, None), [1, 2, 4], "{outcome:?}");
            assert!(waits(&PROBE, outcome, None).is_empty(), "{outcome:?}");
            assert_eq!(waits(&PLATFORM, outcome, None), [1, 1, 1], "{outcome:?}");
        }
        assert_eq!(waits(&IMDS, Status(410), None), [10; 7]);
        assert_eq!(waits(&PROBE, Status(410), None), [10; 7]);
        for outcome in [200, 400, 401, 403, 405, 409].map(Status).into_iter().chain([Unsent, Failed]) {
            for table in [&IMDS, &PROBE, &PLATFORM] {
                assert!(waits(table, outcome, None).is_empty(), "{table:?} {outcome:?}");
            }
        }
        for status in [408, 429, 500, 503, 504] {
            assert_eq!(waits(&PLATFORM, Status(status), None), [1, 1, 1], "{status}");
        }
        for status in [410, 501, 502, 505] {
            assert!(waits(&PLATFORM, Status(status), None).is_empty(), "{status}");
        }
        assert_eq!(waits(&PLATFORM, Status(429), Some(5)), [5, 5, 5]);
        assert_eq!(waits(&PLATFORM, Status(429), Some(0)), [1, 1, 1]);
        assert_eq!(waits(&PLATFORM, Status(429), Some(3_600)), [60, 60, 60]);
        // If the first outcome is 410 and a later outcome is 500, there are seven retries with the waits for 500.
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(IMDS.wait(5, Status(410), Status(500), None), seconds(4));
        assert_eq!(IMDS.wait(4, Status(500), Status(410), None), None);
    }

    #[test]
    fn a_request_for_the_region_is_repeated_once_after_410_429_and_5xx() {
        for status in (100..1_000).filter(|status| matches!(status, 410 | 429 | 500..=599)) {
            assert_eq!(waits(&REGION, Status(status), Some(30)), [1], "{status}");
        }
        for outcome in
            [200, 400, 404, 408, 499, 600].map(Status).into_iter().chain([TimedOut, Unsent, Failed])
        {
            assert!(waits(&REGION, outcome, None).is_empty(), "{outcome:?}");
        }
    }

    #[test]
    fn only_a_connection_that_was_not_opened_has_sent_nothing() {
        use std::io::{Error, ErrorKind};

        use certbound_core::cause::Cause;
        use rustls::AlertDescription;

        let host = || "h".to_owned();
        let reset = || Cause::from(Error::from(ErrorKind::ConnectionReset));
        let timed_out =
            |phase| TransportError::TimedOut { host: host(), phase, limit: Duration::ZERO, proxy: None };
        let proxy = |reason| TransportError::Proxy { host: host(), proxy: "p".to_owned(), reason };
        let alert = rustls::Error::AlertReceived(AlertDescription::HandshakeFailure);
        for (error, outcome) in [
            (timed_out(Phase::Connect), Unsent),
            (timed_out(Phase::Exchange), TimedOut),
            (TransportError::Connect { host: host(), reason: "no route".into() }, Unsent),
            (proxy(reset()), Unsent),
            (TransportError::ProxyRefused { host: host(), proxy: "p".to_owned(), status: 407 }, Failed),
            (TransportError::ProxyRefused { host: host(), proxy: "p".to_owned(), status: 502 }, Failed),
            (TransportError::Tls { host: host(), reason: reset() }, Unsent),
            (TransportError::Tls { host: host(), reason: Error::other(alert).into() }, Failed),
            (TransportError::Tls { host: host(), reason: "the server is not trusted".into() }, Failed),
            (TransportError::Signer { host: host(), reason: reset() }, Failed),
            (TransportError::Interrupted { host: host(), reason: reset() }, Failed),
            (TransportError::EndedAfterCertificate { host: host(), reason: reset() }, Failed),
            (TransportError::CertificateNotRequested { host: host() }, Failed),
            (TransportError::TooLarge { host: host(), limit: 1 }, Failed),
            (TransportError::NotHttps, Failed),
        ] {
            assert_eq!(Outcome::of(&Err(error.clone())), outcome, "{error:?}");
        }
    }
}
