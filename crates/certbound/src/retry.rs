//! Retries after a failure, and throttled requests. [`RetryPolicy`] is a client's setting; the tables of retries are in
//! `table.rs`.

mod table;
mod throttle;

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use bytes::Bytes;
use certbound_core::time::UnixTime;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, Response};

use self::table::Outcome;
#[cfg(feature = "managed-identity")]
pub(crate) use self::table::{IMDS, PLATFORM, PROBE};
pub(crate) use self::table::{REGION, TOKEN_SERVICE, Table};
pub(crate) use self::throttle::Throttle;
use crate::clock::Clock;
use crate::error::TransportError;

/// The rules of a client or a managed identity for retries, and for requests while a service asks to wait.
///
/// By default a token request is sent once more, with the same assertion, after 1 to 1.5 seconds:
///
/// * after a status of 500 to 599 without `Retry-After`;
/// * if the response does not arrive in time;
/// * if the connection cannot be opened because of the network: no byte of the request was sent.
///
/// A token request is not sent again after any other status, 408 and 429 included. A token request is also not sent
/// again if a proxy refuses the connection, if one side refuses the TLS handshake, if the connection breaks during the
/// request, or if the request's bound assertion would have expired. The same rules apply to a request for the metadata
/// of an OpenID issuer, and to the request by which an AD FS server confirms its name. Instance discovery at Entra is
/// never repeated. Requests to the platform of a managed identity have at most three retries, or seven if the first
/// response of IMDS has status 410. A request for the region of the machine is repeated once, after a second: after
/// status 410, 429 and 500 to 599, within the time limit of the [detection](crate::region::RegionDetector). A call of a
/// resource has no retries. Under every policy it is repeated with a new token after a claims challenge, and with a new
/// handle or a new certificate if the handle of the key did not sign.
///
/// If every caller that waits for a request drops its call, the request is not retried.
/// [`LegReport::attempts`](crate::observe::LegReport::attempts) and
/// [`RequestTarget::attempts`](crate::error::RequestTarget::attempts) contain the number of attempts.
///
/// # Throttling
///
/// If a response of the token endpoint with a status other than 200 has `Retry-After`, the client does not send an
/// equal request before that time. The time is limited to an hour. An acquisition that needs an equal request fails at
/// once: [`Error::is_throttled`](crate::Error::is_throttled) is true, [`Error::code`](crate::Error::code) is the code
/// of the response, and [`Error::retry_after`](crate::Error::retry_after) is the remaining time. While an older token
/// is valid, the caller gets the older token instead of the error. Two requests are equal if client, endpoint, kind of
/// token, scope, claims, certificate and parameters are equal. Each client remembers at most 256 responses. The same
/// applies to the requests of a managed identity to its platform: two of these requests are equal if URL and body are
/// equal.
///
/// ```
/// use certbound::retry::RetryPolicy;
/// use certbound::{Authority, Client, Secret, TenantId};
///
/// let authority = Authority::public(TenantId::parse("contoso.com")?);
/// let client = Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
///     .with_secret(Secret::new("secret"))
///     .with_retry_policy(RetryPolicy::none())
///     .build()?;
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    retries: bool,
    throttles: bool,
}

impl RetryPolicy {
    /// Returns a policy that sends each request once: to token services, to the platform of a managed identity, for
    /// documents about an authority, and for the region. `Retry-After` delays no request.
    pub const fn none() -> Self {
        Self { retries: false, throttles: false }
    }

    /// Returns the same policy without throttling. Requests are then sent even while the service asks to wait.
    #[must_use]
    pub const fn without_throttling(self) -> Self {
        Self { throttles: false, ..self }
    }

    /// Returns the same policy without retries. Throttling does not change.
    #[must_use]
    pub const fn without_retries(self) -> Self {
        Self { retries: false, ..self }
    }
}

/// The policy with retries and throttling.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: true, throttles: true }
    }
}

/// The attempts to send one request.
pub(crate) struct Attempts {
    /// The table of retries. It is `None` if the policy allows no retries.
    table: Option<&'static Table>,
    made: u32,
    first: Option<Outcome>,
}

impl Attempts {
    pub(crate) fn new(policy: RetryPolicy, table: &'static Table) -> Self {
        Self { table: policy.retries.then_some(table), made: 0, first: None }
    }

    /// Returns the number of attempts that have ended.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// Returns the number of the next attempt, from 1.
    pub(crate) fn next(&self) -> u32 {
        self.made + 1
    }

    /// Ends an attempt. If the table allows a retry, and `may_wait` allows the wait before it, the function waits. Its
    /// result is then true, and the caller must send the request again. `host` is for the log.
    pub(crate) async fn again(
        &mut self,
        sent: &Result<Response<Bytes>, TransportError>,
        host: &str,
        clock: &dyn Clock,
        may_wait: impl FnOnce(Duration) -> bool,
    ) -> bool {
        let Some(wait) = self.wait_after(sent, clock.now()).filter(|wait| may_wait(*wait)) else {
            return false;
        };
        let status = sent.as_ref().ok().map(|answer| answer.status().as_u16());
        tracing::info!(host, status, ?wait, attempts = self.made, "a request is repeated");
        clock.wait(wait).await;
        true
    }

    /// Records the end of an attempt. Returns the time to wait before the next attempt, or `None` if no attempt
    /// follows.
    fn wait_after(
        &mut self,
        sent: &Result<Response<Bytes>, TransportError>,
        now: UnixTime,
    ) -> Option<Duration> {
        self.made += 1;
        let table = self.table?;
        let outcome = Outcome::of(sent);
        let first = *self.first.get_or_insert(outcome);
        let asked = sent.as_ref().ok().and_then(|answer| retry_after(answer.headers(), now));
        let wait = table.wait(self.made, first, outcome, asked)?;
        Some(if table.jitter { jittered(wait) } else { wait })
    }
}

/// Reads `Retry-After`. Returns `None` if the header is absent or invalid. A date is compared with the server's own
/// clock if the response has the header `Date`.
pub(crate) fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    certbound_core::retry_after::parse_with_date(text(RETRY_AFTER)?, text(DATE), now)
}

/// Returns a random time between `wait` and 1.5 times `wait`, so that many clients do not repeat their failed requests
/// together.
fn jittered(wait: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(0) % 501).unwrap_or(0);
    wait + wait * random / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_compared_with_the_clock_of_the_server() {
        let mut headers = HeaderMap::new();
        let mut put = |name, value| drop(headers.insert(name, http::HeaderValue::from_static(value)));
        put(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:50 GMT");
        put(DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(retry_after(&headers, UnixTime::from_secs(0)), Some(Duration::from_secs(13)));
        headers.remove(DATE);
        let now = UnixTime::from_secs(784_111_777 + 10);
        assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_wait_grows_by_half_at_most() {
        let second = Duration::from_secs(1);
        let waits: Vec<_> = (0..1_000).map(|_| jittered(second)).collect();
        assert!(waits.iter().all(|wait| (second..=second * 3 / 2).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < second * 11 / 10), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait > second * 14 / 10), "{waits:?}");
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
    }
}
