//! The requests to the metadata service for the region of the machine.

use std::time::Duration;

use bytes::Bytes;
use certbound_core::managed_identity::{LOCATION_VERSION, location, location_target, newest_version};
use certbound_core::region::{DetectionFailure, Region};
use futures_util::future::{Either, select};
use http::{Request, Response, Uri};

use crate::clock::Clock;
use crate::observe::Observers;
use crate::span::{self, Target};
use crate::transport::{AnyTransport, Sending, Via};

/// The time limit for all requests of one detection together.
const LIMIT: Duration = Duration::from_secs(2);
/// The wait before a request is repeated. Within the time limit there is time for one repetition.
const WAIT: Duration = Duration::from_secs(1);

const VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const DEFAULT: &str = "http://169.254.169.254";

/// The metadata service, during one detection.
pub(super) struct MetadataService<'a> {
    /// The URL of the service, without a path.
    base: String,
    transport: &'a dyn AnyTransport,
    clock: &'a dyn Clock,
    /// The monotonic time at which the detection ends.
    deadline: Duration,
}

impl<'a> MetadataService<'a> {
    /// Finds the address of the service in the environment. The time limit begins now.
    pub(super) fn find(
        variable: impl Fn(&str) -> Option<String>,
        transport: &'a dyn AnyTransport,
        clock: &'a dyn Clock,
    ) -> Result<Self, DetectionFailure> {
        let url = variable(VARIABLE).filter(|url| !url.is_empty()).unwrap_or_else(|| DEFAULT.to_owned());
        let base = base_of(&url).ok_or(DetectionFailure::NotAUrl { variable: VARIABLE })?;
        Ok(Self { base, transport, clock, deadline: clock.monotonic() + LIMIT })
    }

    /// Requests the region. If the service does not support the version of the request, the newest version that it
    /// supports is used.
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

    /// Sends a request, and repeats it once if the service is busy or is being updated.
    async fn get(&self, version: Option<&str>) -> Result<Response<Bytes>, DetectionFailure> {
        let answer = self.send(version).await?;
        let is_busy = matches!(answer.status().as_u16(), 410 | 429 | 500..=599);
        if !is_busy || self.left() <= WAIT {
            return Ok(answer);
        }
        self.clock.wait(WAIT).await;
        self.send(version).await
    }

    async fn send(&self, version: Option<&str>) -> Result<Response<Bytes>, DetectionFailure> {
        let unreachable = |reason: String| DetectionFailure::Unreachable { reason };
        let url = format!("{}{}", self.base, location_target(version));
        let request = Request::get(url).header("metadata", "true").body(Bytes::new());
        let request = request.map_err(|error| unreachable(error.to_string()))?;
        let sending = Sending::open(Target::Platform, (&request, 1), Observers::NONE, self.clock);
        let span = sending.span();
        let sent = sending.run(self.transport.send(request, Via::Local));
        match select(Box::pin(sent), self.clock.wait(self.left())).await {
            Either::Left((answer, _)) => Ok(answer.map_err(|error| unreachable(error.to_string()))?.response),
            Either::Right((_, sending)) => {
                drop(sending);
                span::failed(&span, "timeout");
                Err(DetectionFailure::TimedOut { limit: LIMIT })
            }
        }
    }

    /// Returns the time that is left for the detection.
    fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.clock.monotonic())
    }
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
