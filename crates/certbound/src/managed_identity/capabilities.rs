//! What a machine's identity can do, found out by asking whether its metadata service is there, and in which version.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use certbound_core::managed_identity::{ComputeMetadata, MachineSource};
use http::Request;

use super::retry::Policy;
use super::{Machine, ManagedIdentity};
use crate::cache::single_flight::LoadFailure;
use crate::correlation::CorrelationId;
use crate::error::{Error, KeyStrength, Misuse, NoImds, PlatformError, ProbeFailure};

/// What a machine's identity can do, as it was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Where tokens are had.
    pub origin: MachineSource,
    /// The newest version of the metadata service that is there; none for the other platforms.
    pub imds: Option<ImdsVersion>,
    /// Whether tokens can be bound to a certificate there.
    pub binds: bool,
    /// How well a key for that is kept: by the key provider in version 2. In version 1, which binds nothing, what the
    /// machine would be good for. None where nothing is to be said.
    pub strength: Option<KeyStrength>,
}

/// A version of the instance metadata service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImdsVersion {
    /// Plain tokens only.
    V1,
    /// Certificates for bound ones too.
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

/// What the probes found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Discovered {
    V2,
    /// With what the machine's own description says of keys.
    V1 {
        guards_keys: bool,
    },
}

impl ManagedIdentity {
    /// Finds out what it can do. The metadata service is probed, each version at most once for however many ask at the same
    /// time; where the environment or the program names another platform, nobody is asked. No key is made for it.
    ///
    /// Nothing of it is remembered, and requests for tokens neither need nor use it.
    ///
    /// # Errors
    /// [`PlatformError::NoSource`] with the reasons, where nothing is found.
    pub async fn capabilities(&self) -> Result<Capabilities, Error> {
        let machine = self.machine();
        let origin = machine.endpoint.origin();
        if !origin.binds() {
            return Ok(Capabilities { origin, imds: None, binds: false, strength: None });
        }
        let discover = || {
            let machine = Arc::clone(machine);
            Box::pin(async move { machine.discover().await }) as _
        };
        let (found, _) = machine.discoveries.run((), discover).await;
        let found = found.map_err(|failure| {
            let misuse = match failure {
                LoadFailure::Panicked => Misuse::ProviderPanicked,
                LoadFailure::RuntimeEnded => Misuse::RuntimeEnded,
            };
            Error::misuse(None, misuse)
        })?;
        let (imds, strength) = match found.map_err(|what| Error::Platform { leg: None, what })? {
            Discovered::V2 => (ImdsVersion::V2, Some(machine.strength)),
            Discovered::V1 { guards_keys } => (ImdsVersion::V1, guards_keys.then_some(KeyStrength::Software)),
        };
        Ok(Capabilities { origin, imds: Some(imds), binds: imds == ImdsVersion::V2, strength })
    }
}

impl Machine {
    /// The newer version first: it answers the older one's probe too.
    async fn discover(&self) -> Result<Discovered, PlatformError> {
        let id = CorrelationId::random();
        let v2 = ("/metadata/identity/getplatformmetadata", ("cred-api-version", "2.0"));
        let v1 = ("/metadata/identity/oauth2/token", ("api-version", "2018-02-01"));
        let Err(v2) = self.probe(v2, id).await? else { return Ok(Discovered::V2) };
        match self.probe(v1, id).await? {
            Ok(()) => Ok(Discovered::V1 { guards_keys: self.guards_keys(id).await }),
            Err(v1) => Err(PlatformError::NoSource(Box::new(NoImds { v2, v1 }))),
        }
    }

    /// Asks without the header that the service demands, and is refused by it alone.
    async fn probe(
        &self,
        (path, version): (&str, (&str, &str)),
        id: CorrelationId,
    ) -> Result<Result<(), ProbeFailure>, PlatformError> {
        let request = Request::get(self.imds_url(path, version, &[]));
        let request = request.header("x-ms-client-request-id", id.to_string()).body(Bytes::new());
        let request = request.map_err(|_| PlatformError::Url { origin: self.endpoint.origin() })?;
        let answer = match self.ask_by(Policy::Probe, request).await {
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

    /// What the machine's description says; whatever cannot be had or read says nothing.
    async fn guards_keys(&self, id: CorrelationId) -> bool {
        let url = self.endpoint.imds("/metadata/instance/compute", &[("api-version", "2021-02-01")]);
        let Ok(request) = self.request(Request::get(url), id, Bytes::new()) else { return false };
        let answer = self.ask(request).await.ok().filter(|answer| answer.status() == 200);
        answer.is_some_and(|answer| {
            ComputeMetadata::parse(answer.body()).is_ok_and(|machine| machine.guards_keys())
        })
    }
}
