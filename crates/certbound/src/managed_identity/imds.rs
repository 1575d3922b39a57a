//! Talking to a platform: one request, repeated by its own table, and what the metadata service says in version 2.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use certbound_core::managed_identity::{
    IdentityId, IssuedCredential, MachineError, MachineSource, PlatformMetadata,
};
use certbound_core::own_secrets::OwnSecrets;
use certbound_core::secret::Secret;
use http::header::{CONTENT_TYPE, RETRY_AFTER, SERVER};
use http::{HeaderName, HeaderValue, Request, Response};
use serde::Serialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::Machine;
use super::retry::{Outcome, Policy, asked_to_wait};
use crate::correlation::CorrelationId;
use crate::error::PlatformError;
use crate::error::{Phase, TransportError};

/// The service answers five calls for identities at once, and refuses more.
const CALLS: usize = 5;

/// The right to call it, for a transport of one's own.
pub(super) fn calls() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CALLS))
}

/// The right to call the machine's own: one for the process.
pub(super) fn shared_calls() -> Arc<Semaphore> {
    static SHARED: OnceLock<Arc<Semaphore>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(calls))
}

impl Machine {
    /// Sends a request, again where the platform's table says so, and returns the last answer.
    pub(super) async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, PlatformError> {
        let policy = match self.endpoint.origin() {
            MachineSource::Imds => Policy::Imds,
            _ => Policy::Platform,
        };
        self.ask_by(policy, request).await
    }

    pub(super) async fn ask_by(
        &self,
        policy: Policy,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, PlatformError> {
        let origin = self.endpoint.origin();
        let (mut attempt, mut first) = (0, None);
        loop {
            let sent = self.send(request.clone()).await;
            let (outcome, after) = match &sent {
                Ok(answer) => (Outcome::Status(answer.status().as_u16()), self.asked_to_wait(answer)),
                Err(TransportError::TimedOut { phase: Phase::Exchange, .. }) => (Outcome::TimedOut, None),
                Err(cause) => return Err(PlatformError::Unreachable { origin, cause: cause.clone() }),
            };
            attempt += 1;
            let first = *first.get_or_insert(outcome);
            let Some(delay) = policy.delay(attempt, first, outcome, after) else {
                return sent.map_err(|cause| PlatformError::Unreachable { origin, cause });
            };
            tracing::debug!(%origin, ?outcome, attempt, "the platform is asked again");
            self.context.clock.wait(delay).await;
        }
    }

    /// One try. The metadata service is not asked by too many at once; who waits to ask again does not count.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let _turn = match self.endpoint.origin() {
            // The semaphore is never closed.
            MachineSource::Imds => self.imds_calls.acquire().await.ok(),
            _ => None,
        };
        Ok(self.context.transport.send(request, self.endpoint.via()).await?.response)
    }

    fn asked_to_wait(&self, answer: &Response<Bytes>) -> Option<Duration> {
        asked_to_wait(answer.headers().get(RETRY_AFTER)?.to_str().ok()?, self.context.clock.now())
    }

    pub(super) fn refused(&self, answer: &Response<Bytes>) -> PlatformError {
        let origin = self.endpoint.origin();
        PlatformError::Refused {
            origin,
            answer: MachineError::parse(answer.status().as_u16(), answer.body()),
        }
    }

    /// What the machine is, and the identity's canonical name.
    pub(super) async fn metadata(
        &self,
        correlation_id: CorrelationId,
    ) -> Result<PlatformMetadata, PlatformError> {
        let url = self.credential_url("/metadata/identity/getplatformmetadata", &[]);
        let answer = self.ask(self.request(Request::get(url), correlation_id, Bytes::new())?).await?;
        match answer.status().as_u16() {
            200 => {
                let server = answer.headers().get(SERVER).and_then(|server| server.to_str().ok());
                PlatformMetadata::parse(server, answer.body()).map_err(|answer| self.malformed(answer))
            }
            404 => Err(PlatformError::NoCertificates),
            _ => Err(self.refused(&answer)),
        }
    }

    /// A certificate for a signed request (DER). `anew`: not one that the service has, since that was refused.
    pub(super) async fn issue(
        &self,
        request: &[u8],
        attestation: Option<&Secret>,
        anew: bool,
        correlation_id: CorrelationId,
    ) -> Result<IssuedCredential, PlatformError> {
        let body =
            IssueBody { csr: &STANDARD.encode(request), attestation_token: attestation.map(Secret::expose) };
        let more: &[_] = if anew { &[("bypass_cache", "true")] } else { &[] };
        let url = self.credential_url("/metadata/identity/issuecredential", more);
        let builder = Request::post(url).header(CONTENT_TYPE, "application/json; charset=utf-8");
        let request = self.request(builder, correlation_id, body.bytes())?;
        let answer = self.ask(request).await?;
        let secrets = OwnSecrets::new().and(attestation.map(Secret::expose).unwrap_or_default());
        if answer.status() != 200 {
            let refused = self.refused(&answer).without(&secrets);
            return Err(if attestation.is_none() { refused.or_attestation_required() } else { refused });
        }
        IssuedCredential::parse(answer.body()).map_err(|answer| self.malformed(answer).without(&secrets))
    }

    pub(super) fn malformed(
        &self,
        answer: certbound_core::managed_identity::MalformedMachineAnswer,
    ) -> PlatformError {
        PlatformError::Malformed { origin: self.endpoint.origin(), answer }
    }

    fn credential_url(&self, path: &str, more: &[(&str, &str)]) -> String {
        self.imds_url(path, ("cred-api-version", "2.0"), more)
    }

    /// With the identity as all but the older version's tokens select it.
    pub(super) fn imds_url(&self, path: &str, version: (&str, &str), more: &[(&str, &str)]) -> String {
        let mut query = vec![version];
        match &self.id {
            IdentityId::ClientId(id) => query.push(("client_id", id)),
            IdentityId::ObjectId(id) => query.push(("object_id", id)),
            IdentityId::ResourceId(id) => query.push(("mi_res_id", id)),
            _ => {}
        }
        query.extend(more);
        self.endpoint.imds(path, &query)
    }

    pub(super) fn request(
        &self,
        builder: http::request::Builder,
        correlation_id: CorrelationId,
        body: Bytes,
    ) -> Result<Request<Bytes>, PlatformError> {
        let builder = builder
            .header("metadata", "true")
            .header("accept", "application/json")
            .header("x-ms-client-request-id", correlation_id.to_string());
        builder.body(body).map_err(|_| PlatformError::Url { origin: self.endpoint.origin() })
    }
}

/// What a certificate is asked for with.
#[derive(Serialize)]
struct IssueBody<'a> {
    csr: &'a str,
    /// Absent, not empty, where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_token: Option<&'a str>,
}

impl IssueBody<'_> {
    /// In a buffer that is wiped and has room for all of it from the start.
    fn bytes(&self) -> Bytes {
        // A character takes six bytes at most.
        let room = self.csr.len() + 6 * self.attestation_token.map_or(0, str::len) + 64;
        let mut body = Zeroizing::new(Vec::with_capacity(room));
        // Nothing can fail in memory.
        serde_json::to_writer(&mut *body, self).unwrap_or_default();
        Bytes::from_owner(body)
    }
}

/// Puts a request for a plain token together.
pub(super) fn assemble(
    plain: super::endpoint::PlainRequest,
    more: Option<(HeaderName, HeaderValue)>,
) -> Option<Request<Bytes>> {
    let mut request =
        Request::builder().method(plain.method).uri(plain.url).body(Bytes::from(plain.body)).ok()?;
    request.headers_mut().extend(plain.headers.into_iter().chain(more));
    Some(request)
}
