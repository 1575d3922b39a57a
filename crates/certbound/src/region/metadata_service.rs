//! The requests to the metadata service for the region of the machine.

use std::time::Duration;

use bytes::Bytes;
use certbound_core::managed_identity::{LOCATION_VERSION, location, location_target, newest_version};
use certbound_core::region::{DetectionFailure, Region};
use futures_util::future::{Either, select};
use http::{Request, Response, Uri};

use super::Requester;
use crate::error::{Phase, TransportError};
use crate::observe::Observers;
use crate::retry::{Attempts, REGION};
use crate::span::Target;
use crate::transport::{Sending, Via};

/// The time limit for all requests of one detection together.
const LIMIT: Duration = Duration::from_secs(2);

const VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const DEFAULT: &str = "http://169.254.169.254";

/// The metadata service, during one detection.
pub(super) struct MetadataService<'a> {
    /// The URL of the service, without a path.
    base: String,
    requester: &'a Requester,
    /// The monotonic time at which the detection ends.
    deadline: Duration,
}

impl<'a> MetadataService<'a> {
    /// Finds the address of the service in the environment. The time limit begins now.
    pub(super) fn find(
        variable: impl Fn(&str) -> Option<String>,
        requester: &'a Requester,
    ) -> Result<Self, DetectionFailure> {
        let url = variable(VARIABLE).filter(|url| !url.is_empty()).unwrap_or_else(|| DEFAULT.to_owned());
        let base = base_of(&url).ok_or(DetectionFailure::NotAUrl { variable: VARIABLE })?;
        Ok(Self { base, requester, deadline: requester.clock.monotonic() + LIMIT })
    }

    /// Requests the region. If the service does not support the version of the request, the function repeats the
    /// request with the newest supported version.
    pub(super) async fn location(&self) -> Result<Region, DetectionFailure> {
        let mut answer = self.get(Some(LOCATION_VERSION)).await?;
        if answer.status() == 400 {
            let version = self.newest_version(&answer).await?;
            answer = self.get(Some(&version)).await?;
        }
        match answer.status().as_u16() {
            200 => location(answer.body()),
            status => Err(DetectionFailure::Status { status }),
        }
    }

    /// Returns the newest version that the refusal of a request names. If the refusal names no version, the function
    /// reads the versions in the answer to a request without a version.
    async fn newest_version(&self, refusal: &Response<Bytes>) -> Result<String, DetectionFailure> {
        if let Some(version) = newest_version(refusal.body()) {
            return Ok(version);
        }
        let answer = self.get(None).await?;
        let version = newest_version(answer.body()).filter(|_| answer.status() == 400);
        version.ok_or(DetectionFailure::NoVersion)
    }

    /// Sends a request, and repeats it if the table and the time limit allow a retry.
    async fn get(&self, version: Option<&str>) -> Result<Response<Bytes>, DetectionFailure> {
        let Requester { clock, retry_policy, .. } = self.requester;
        let url = format!("{}{}", self.base, location_target(version));
        let request = Request::get(url).header("metadata", "true").body(Bytes::new());
        let request = request.map_err(|error| unreachable(&error))?;
        let host = request.uri().host().unwrap_or_default();
        let mut attempts = Attempts::new(*retry_policy, &REGION);
        loop {
            let sent = self.send(request.clone(), attempts.next()).await;
            if !attempts.again(&sent, host, &**clock, |wait| wait < self.left()).await {
                return sent.map_err(|error| match error {
                    // A transport can have a different limit, and then reports its own error.
                    TransportError::TimedOut { limit: LIMIT, .. } => {
                        DetectionFailure::TimedOut { limit: LIMIT }
                    }
                    error => unreachable(&error),
                });
            }
        }
    }

    /// Sends a request once, and waits for the answer until the detection ends.
    async fn send(&self, request: Request<Bytes>, attempt: u32) -> Result<Response<Bytes>, TransportError> {
        let Requester { transport, clock, observer, .. } = self.requester;
        let host = request.uri().host().unwrap_or_default().to_owned();
        let observers = Observers::new(None, observer.as_ref());
        let sending = Sending::open(Target::Platform, (&request, attempt), observers, &**clock);
        let sent = async {
            match select(transport.send(request, Via::Local), clock.wait(self.left())).await {
                Either::Left((sent, _)) => sent,
                Either::Right(_) => {
                    Err(TransportError::TimedOut { host, phase: Phase::Exchange, limit: LIMIT, proxy: None })
                }
            }
        };
        Ok(sending.run(sent).await?.response)
    }

    /// Returns the time that is left for the detection.
    fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.requester.clock.monotonic())
    }
}

fn unreachable(error: &impl ToString) -> DetectionFailure {
    DetectionFailure::Unreachable { reason: error.to_string() }
}

/// Returns scheme, host and port of a URL. The path is ignored, because each operation of the service has its own path.
fn base_of(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    Some(format!("{scheme}://{}", url.authority()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_origin_of_the_address_is_used() {
        for (url, base) in [
            (DEFAULT, Some(DEFAULT)),
            ("http://127.0.0.1:4000/", Some("http://127.0.0.1:4000")),
            ("https://host/path?query", Some("https://host")),
            ("127.0.0.1:4000", None),
            ("ftp://host/", None),
            ("not a url", None),
            ("http://", None),
        ] {
            assert_eq!(base_of(url).as_deref(), base, "{url}");
        }
    }
}
