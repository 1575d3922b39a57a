//! The target of a failed request.

use std::fmt;

use certbound_core::certificate::Thumbprint;
use certbound_core::region::{Region, RegionOutcome};
use certbound_core::tenant::TenantId;

/// The facts of a failed request to a token service. A program with several clouds, tenants or regions needs them to
/// distinguish its errors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestTarget {
    /// The URL of the endpoint, without a query.
    pub endpoint: String,
    /// The tenant. It is `None` for AD FS, for OpenID issuers, and for requests about the authority itself.
    pub tenant: Option<TenantId>,
    /// The region. It is `None` for a global endpoint.
    pub region: Option<Region>,
    /// The way in which the region was determined.
    pub region_outcome: RegionOutcome,
    /// The correlation id that the request sent.
    pub correlation_id: String,
    /// The host of the authority, if the request was about the authority itself (discovery).
    pub authority: Option<String>,
    /// The certificate by which the client authenticated: TLS presented it, or its key signed the assertion.
    pub certificate: Option<Thumbprint>,
    /// The subject of that certificate.
    pub certificate_subject: Option<String>,
    /// The seconds by which this machine's clock is ahead of the server's. The number is negative if the clock is
    /// behind. The field is `None` if it is unknown, for example because the response had no date.
    pub clock_ahead: Option<i64>,
    /// Whether the request was for a token of a managed identity. MSAL has other codes for the failures of these
    /// requests.
    pub of_managed_identity: bool,
    /// The number of attempts, failed connections included. It is more than 1 after a retry.
    pub attempts: u32,
}

impl RequestTarget {
    /// Returns the host of the endpoint.
    pub fn host(&self) -> &str {
        let rest = self.endpoint.split_once("://").map_or(&*self.endpoint, |(_, rest)| rest);
        rest.split(['/', ':', '?']).next().unwrap_or_default()
    }

    /// Returns the difference of the clocks, if it is a minute or more. A smaller difference can be the duration of the
    /// request.
    pub(super) fn clock_error(&self) -> Option<ClockError> {
        self.clock_ahead.filter(|seconds| seconds.unsigned_abs() >= 60).map(ClockError)
    }
}

/// Writes the endpoint, the region with its outcome, the correlation id and, after a retry, the number of attempts.
impl fmt::Display for RequestTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request to {}", self.endpoint)?;
        if let Some(region) = &self.region {
            write!(f, ", region {region}")?;
        }
        match &self.region_outcome {
            RegionOutcome::Detected { .. } => write!(f, " ({})", self.region_outcome)?,
            RegionOutcome::NotDetected { .. } => write!(f, ", region {}", self.region_outcome)?,
            RegionOutcome::Unreachable { .. } => {
                write!(f, " (the global host, because {})", self.region_outcome)?;
            }
            _ => {}
        }
        write!(f, ", correlation id {}", self.correlation_id)?;
        match self.attempts {
            0 | 1 => Ok(()),
            attempts => write!(f, ", {attempts} attempts"),
        }
    }
}

/// The seconds by which this machine's clock is ahead.
pub(super) struct ClockError(i64);

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, side) = (self.0.unsigned_abs() / 60, if self.0 > 0 { "ahead of" } else { "behind" });
        match minutes {
            0..120 => write!(f, "this machine's clock is {minutes} min {side} the server's"),
            _ => write!(f, "this machine's clock is {} h {side} the server's", minutes / 60),
        }
    }
}
