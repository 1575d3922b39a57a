//! The capabilities of a machine. Probes determine whether IMDS exists, and in which version.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::managed_identity::{COMPUTE_PATH, COMPUTE_VERSION, ComputeMetadata, MachineSource};
use futures_util::future::{Either, select};
use http::Request;

use super::{Machine, ManagedIdentity};
use crate::correlation::CorrelationId;
use crate::error::{Error, KeyStrength, NoImds, PlatformError, ProbeFailure};
use crate::retry;

/// The capabilities of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The source of the tokens.
    pub origin: MachineSource,
    /// The newest version of IMDS on the machine. The field is `None` on other platforms.
    pub imds: Option<ImdsVersion>,
    /// Whether the source can bind tokens to a certificate.
    pub binds: bool,
    /// The key strength. With version 2 of IMDS it is the strength of the key provider. With version 1 it is `Software`
    /// if Microsoft's own clients would have a key on this kind of machine. Otherwise it is `None`.
    pub strength: Option<KeyStrength>,
    /// Whether the environment disables version 2 of IMDS (`MSAL_MI_DISABLE_IMDS_V2`). Version 2 was then not probed,
    /// so `imds` is version 1, and `strength` is `None`. The field is false for other sources, which the variable does
    /// not affect.
    pub imds_v2_disabled: bool,
}

/// A version of the instance metadata service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImdsVersion {
    /// Version 1, which issues only Bearer tokens.
    V1,
    /// Version 2, which also issues certificates for bound tokens.
    V2,
}

impl fmt::Display for ImdsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V1 => "1",
            Self::V2 => "2",
        })
    }
}

impl ManagedIdentity {
    /// Returns the capabilities of this machine for the identity. The function probes IMDS, and parallel callers share
    /// the probes. The function sends no request if the environment or the builder names a different platform. The
    /// function creates no key.
    ///
    /// The result is not cached, and requests for tokens do not need it. The whole call has no time limit;
    /// [`capabilities_within`](ManagedIdentity::capabilities_within) has a time limit.
    ///
    /// # Errors
    /// [`PlatformError::NoSource`] with the reasons, if no version of IMDS is found.
    pub async fn capabilities(&self) -> Result<Capabilities, Error> {
        let machine = self.machine();
        let origin = machine.endpoint.origin();
        if !origin.binds() {
            let (imds, strength) = (None, None);
            return Ok(Capabilities { origin, imds, binds: false, strength, imds_v2_disabled: false });
        }
        let discover = || {
            let machine = Arc::clone(machine);
            Box::pin(async move { machine.discover().await }) as _
        };
        let (found, _) = machine.discoveries.run((), discover).await;
        let found = found.map_err(|failure| Error::provider(None, failure.into()))?;
        let (imds, strength) = found.map_err(|what| Error::Platform { leg: None, what })?;
        let (binds, imds_v2_disabled) = (imds == ImdsVersion::V2, machine.imds_v2_disabled);
        Ok(Capabilities { origin, imds: Some(imds), binds, strength, imds_v2_disabled })
    }
}

impl ManagedIdentity {
    /// Does the same as [`ManagedIdentity::capabilities`] with a time limit for the whole call: both probes, their
    /// retries and the request for the description of the machine. With a limit of zero, the call ends before the first
    /// probe. If the environment or the builder names a different platform, the function sends no request, and the
    /// limit has no effect.
    ///
    /// # Errors
    /// [`PlatformError::DiscoveryTimedOut`] (code `request_timeout`), if the limit is exceeded. The client stores no
    /// result, so the next call starts a new search. The function also returns the errors of
    /// [`ManagedIdentity::capabilities`].
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use certbound::ManagedIdentity;
    ///
    /// let identity = ManagedIdentity::system_assigned().build()?;
    /// let found = identity.capabilities_within(Duration::from_secs(1)).await;
    /// println!("this machine binds tokens: {}", found.is_ok_and(|found| found.binds));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn capabilities_within(&self, limit: Duration) -> Result<Capabilities, Error> {
        let timed_out = || Error::Platform { leg: None, what: PlatformError::DiscoveryTimedOut { limit } };
        if limit.is_zero() && self.origin().binds() {
            return Err(timed_out());
        }
        match select(Box::pin(self.capabilities()), self.machine().context.clock.wait(limit)).await {
            Either::Left((found, _)) => found,
            // Dropping the future ends the search, unless another caller waits for the search too.
            Either::Right(((), _)) => Err(timed_out()),
        }
    }
}

impl Machine {
    /// Returns the version of IMDS and the key strength. Version 2 is probed first, because a service with version 2
    /// answers the probe of version 1 too. If the environment disables version 2, only version 1 is probed.
    async fn discover(&self) -> Result<(ImdsVersion, Option<KeyStrength>), PlatformError> {
        let id = CorrelationId::random();
        let v2 = ("/metadata/identity/getplatformmetadata", ("cred-api-version", "2.0"));
        let v1 = ("/metadata/identity/oauth2/token", ("api-version", "2018-02-01"));
        let v2 = match self.imds_v2_disabled {
            true => Err(ProbeFailure::Disabled),
            false => self.probe(v2, id).await?,
        };
        let Err(v2) = v2 else { return Ok((ImdsVersion::V2, Some(self.strength))) };
        match self.probe(v1, id).await? {
            Ok(()) if self.imds_v2_disabled => Ok((ImdsVersion::V1, None)),
            Ok(()) => {
                let guards_keys = self.guards_keys(id).await;
                Ok((ImdsVersion::V1, guards_keys.then_some(KeyStrength::Software)))
            }
            Err(v1) => Err(PlatformError::NoSource(Box::new(NoImds { v2, v1 }))),
        }
    }

    /// Sends a request without the header that IMDS requires. IMDS refuses it with status 400; any other status means
    /// that IMDS does not have this version.
    async fn probe(
        &self,
        (path, version): (&str, (&str, &str)),
        id: CorrelationId,
    ) -> Result<Result<(), ProbeFailure>, PlatformError> {
        let request = Request::get(self.imds_url(path, version, &[]));
        let request = request.header("x-ms-client-request-id", id.to_string()).body(Bytes::new());
        let request = request.map_err(|_| PlatformError::Url { origin: self.endpoint.origin() })?;
        let answer = match self.ask_by(&retry::PROBE, request).await {
            Ok(answer) => answer,
            Err(PlatformError::Unreachable { cause, .. }) => {
                return Ok(Err(ProbeFailure::Unreachable(cause)));
            }
            Err(error) => return Err(error),
        };
        Ok(match answer.status().as_u16() {
            400 => Ok(()),
            status => Err(ProbeFailure::Answered { status }),
        })
    }

    /// Returns [`ComputeMetadata::guards_keys`] of this machine. The result is false if the metadata cannot be read.
    async fn guards_keys(&self, id: CorrelationId) -> bool {
        self.compute_metadata(id).await.is_some_and(|machine| machine.guards_keys())
    }

    /// Returns the metadata service's description of the machine. The result is `None` if the description cannot be
    /// read.
    pub(super) async fn compute_metadata(&self, id: CorrelationId) -> Option<ComputeMetadata> {
        let url = self.endpoint.imds(COMPUTE_PATH, &[("api-version", COMPUTE_VERSION)]);
        let request = self.request(Request::get(url), id, Bytes::new()).ok()?;
        let answer = self.ask(request).await.ok().filter(|answer| answer.status() == 200)?;
        ComputeMetadata::parse(answer.body()).ok()
    }
}
