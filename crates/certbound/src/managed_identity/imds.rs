//! Requests to a platform with their retries, and the requests of version 2 of IMDS.

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
use http::header::{CONTENT_TYPE, SERVER};
use http::{Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Machine;
use super::bearer::secrets_of;
use crate::acquire::headers;
use crate::cache::single_flight::this_runtime;
use crate::correlation::CorrelationId;
use crate::error::{PlatformError, TransportError};
use crate::observe::{RequestTo, ThrottledRequest};
use crate::retry::{self, Attempts, Table, retry_after};
use crate::span::Target;
use crate::transport::Sending;

/// The maximum number of parallel requests for identities. IMDS refuses a sixth request at the same time.
const CALLS: usize = 5;
/// The longest time that a request waits while five requests run. After this time the request is sent in any case. The
/// limit is needed if the runtime of an earlier caller does not poll its tasks.
const CALLS_LIMIT: Duration = Duration::from_secs(60);

/// Returns the limit of parallel requests for an identity with its own transport.
pub(super) fn calls() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CALLS))
}

/// Returns the limit of parallel requests to the machine's IMDS, which the whole process shares.
pub(super) fn shared_calls() -> Arc<Semaphore> {
    static SHARED: OnceLock<Arc<Semaphore>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(calls))
}

/// The maximum length of a stored response, in bytes.
const KEPT_TEXT: usize = 64 * 1024;

impl Machine {
    /// Sends a request with the platform's retries and returns the last response. If the response to an equal request
    /// asked for a wait, the function returns that response again during the wait.
    pub(super) async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, PlatformError> {
        let (body, secrets) = (request.body().clone(), secrets_of(request.headers()));
        self.ask_unless_throttled(request, body, &secrets).await
    }

    /// Does the same as [`Machine::ask`]. Requests are equal if their URL and `body` are equal. The platform may repeat
    /// `secrets` in its response.
    async fn ask_unless_throttled(
        &self,
        request: Request<Bytes>,
        body: Bytes,
        secrets: &OwnSecrets,
    ) -> Result<Response<Bytes>, PlatformError> {
        let key = (request.uri().clone(), body);
        if let Some((mut answer, left)) = self.throttle.find(|| key.clone(), self.context.clock.now()) {
            tracing::debug!(origin = %self.endpoint.origin(), ?left, "the request is not sent, because the platform asked to wait");
            let request = ThrottledRequest { to: RequestTo::Platform, leg: None, region: None, left };
            self.context.observers(None).each(|observer| observer.throttled(&request));
            answer.extensions_mut().insert(NotSent { left });
            return Ok(answer);
        }
        let answer = self.ask_with_retries(request).await?;
        let now = self.context.clock.now();
        // Status 401 of Azure Arc is the challenge, which the next request answers.
        let is_challenge =
            self.endpoint.origin() == MachineSource::AzureArc && answer.status() == StatusCode::UNAUTHORIZED;
        if answer.status() != StatusCode::OK
            && !is_challenge
            && let Some(wait) = retry_after(answer.headers(), now)
        {
            self.throttle.keep(key, to_keep(&answer, secrets), wait, now);
        }
        Ok(answer)
    }

    async fn ask_with_retries(&self, request: Request<Bytes>) -> Result<Response<Bytes>, PlatformError> {
        let table = match self.endpoint.origin() {
            MachineSource::Imds => &retry::IMDS,
            _ => &retry::PLATFORM,
        };
        self.ask_by(table, request).await
    }

    pub(super) async fn ask_by(
        &self,
        table: &'static Table,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, PlatformError> {
        let origin = self.endpoint.origin();
        let mut attempts = Attempts::new(self.context.retry_policy, table);
        loop {
            let sent = self.send(request.clone(), attempts.next()).await;
            if !attempts.again(&sent, self.endpoint.host(), &*self.context.clock, |_| true).await {
                return sent.map_err(|cause| PlatformError::Unreachable { origin, cause });
            }
        }
    }

    /// Sends a request once. The number of parallel requests to IMDS is limited to five. A request that waits for its
    /// retry is not counted.
    async fn send(&self, request: Request<Bytes>, attempt: u32) -> Result<Response<Bytes>, TransportError> {
        let _turn = match self.endpoint.origin() {
            // The semaphore is never closed. Without a runtime there is no timer, so the wait has no limit.
            MachineSource::Imds if this_runtime().is_none() => self.imds_calls.acquire().await.ok(),
            MachineSource::Imds => {
                timeout(CALLS_LIMIT, self.imds_calls.acquire()).await.ok().and_then(Result::ok)
            }
            _ => None,
        };
        let (context, request_number) = (&self.context, (&request, attempt));
        let sending =
            Sending::open(Target::Platform, request_number, context.observers(None), &*context.clock);
        Ok(sending.run(context.transport.send(request, self.endpoint.via())).await?.response)
    }

    pub(super) fn refused(&self, answer: &Response<Bytes>) -> PlatformError {
        let origin = self.endpoint.origin();
        let facts = headers::facts(answer.headers(), self.context.clock.now());
        let refused = PlatformError::Refused {
            origin,
            host: self.endpoint.host().to_owned(),
            answer: MachineError::parse(answer.status().as_u16(), &facts, answer.body()),
        };
        unless_sent(answer, refused)
    }

    /// Requests the platform metadata, which contains the platform's own name of the identity.
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
            404 => Err(unless_sent(&answer, PlatformError::NoCertificates)),
            _ => Err(self.refused(&answer)),
        }
    }

    /// Requests a certificate for a signed certificate request (DER). If `anew` is true, IMDS must issue a new
    /// certificate and not return a certificate of its cache.
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
        // The body has a new signature each time, so the comparison ignores the body.
        let secrets = OwnSecrets::new().and(attestation.map(Secret::expose).unwrap_or_default());
        let answer = self.ask_unless_throttled(request, Bytes::new(), &secrets).await?;
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
        let (origin, host) = (self.endpoint.origin(), self.endpoint.host().to_owned());
        PlatformError::Malformed { origin, host, answer }
    }

    fn credential_url(&self, path: &str, more: &[(&str, &str)]) -> String {
        self.imds_url(path, ("cred-api-version", "2.0"), more)
    }

    /// Returns a URL with the identity in the query. Token requests of version 1 have a different parameter for a
    /// resource id.
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

/// An extension of a stored response. It states that the current request was not sent.
#[derive(Clone, Copy)]
struct NotSent {
    /// The remaining time of the wait.
    left: Duration,
}

/// Returns `error`. If the request was not sent, the result is a throttled error that contains `error`.
fn unless_sent(answer: &Response<Bytes>, error: PlatformError) -> PlatformError {
    match answer.extensions().get() {
        Some(NotSent { left }) => PlatformError::Throttled { first: Box::new(error), left: *left },
        None => error,
    }
}

/// Returns the stored form of a response: at most 64 KiB of text, without the secrets of the request that caused it. A
/// later request could not redact these secrets.
fn to_keep(answer: &Response<Bytes>, secrets: &OwnSecrets) -> Response<Bytes> {
    let text = String::from_utf8_lossy(answer.body());
    let mut text = secrets.redacted(&text).into_owned();
    text.truncate(text.floor_char_boundary(KEPT_TEXT));
    answer.clone().map(|_| Bytes::from(text))
}

/// The body of a request for a certificate.
#[derive(Serialize)]
struct IssueBody<'a> {
    csr: &'a str,
    /// If there is no token, the member is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_token: Option<&'a str>,
}

impl IssueBody<'_> {
    /// Returns the body in a buffer that is wiped. The buffer has its full size from the start.
    fn bytes(&self) -> Bytes {
        // A character of the token takes at most six bytes in JSON.
        let room = self.csr.len() + 6 * self.attestation_token.map_or(0, str::len) + 64;
        let mut body = Zeroizing::new(Vec::with_capacity(room));
        // Writing to memory cannot fail.
        serde_json::to_writer(&mut *body, self).unwrap_or_default();
        Bytes::from_owner(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_response_has_no_secret_and_a_limited_text() {
        let text = format!("{{\"error\":\"the key k3y-0123456789 is wrong\"}}{}", "x".repeat(KEPT_TEXT));
        let answer =
            Response::builder().status(403).header("retry-after", "30").body(Bytes::from(text)).unwrap();
        let kept = to_keep(&answer, &OwnSecrets::new().and("k3y-0123456789"));
        assert_eq!(
            (kept.status(), kept.headers(), kept.body().len()),
            (answer.status(), answer.headers(), KEPT_TEXT)
        );
        let text = str::from_utf8(kept.body()).unwrap();
        assert!(text.starts_with("{\"error\":\"the key ") && !text.contains("k3y"), "{}", &text[..60]);
    }
}
