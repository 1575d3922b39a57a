//! The stations between a request and a token: sending it, and what an answer must be before it is used.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::credential::ClientProof;
use certbound_core::endpoint::TokenEndpoint;
use certbound_core::jws;
use certbound_core::request::{MTLS_POP, TokenRequest};
use certbound_core::response::{AnswerError, HeaderFacts, TokenResponse};
use certbound_core::scope;
use certbound_core::secret::Secret;
use certbound_core::tenant::TenantId;
use certbound_core::time::UnixTime;

use super::{Acquisition, Options};
use crate::assertion::LegReport;
use crate::binding::Binding;
use crate::client::ClientCore;
use crate::correlation::CorrelationId;
use crate::credential::Proof;
use crate::error::{Error, Leg, Misuse, PeerMisbehaved};
use crate::headers::{self, RefreshReason};
use crate::leg1::AssertionRequest;
use crate::observe::{ObservedRequest, ObservedValue};
use crate::token::{Held, Inner, Kind, TokenBody};
use crate::transport::Via;

/// The proof as the wire has it. The assertion type follows from what the proof is.
pub(super) fn wire_proof(proof: &Proof) -> ClientProof<'_> {
    match proof {
        Proof::CertificateOnly => ClientProof::CertificateOnly,
        Proof::Bound(assertion) => ClientProof::BoundAssertion(assertion.secret()),
        Proof::Signed(jwt) => ClientProof::SignedAssertion(jwt),
    }
}

/// A request on its way.
pub(super) struct Sent<'a> {
    pub(super) client: &'a ClientCore,
    pub(super) leg: Option<Leg>,
    pub(super) endpoint: &'a TokenEndpoint,
    pub(super) kind: Kind,
    pub(super) presents: Option<&'a Binding>,
    pub(super) correlation_id: CorrelationId,
    pub(super) options: &'a Options,
}

impl Sent<'_> {
    /// Sends the request and parses its answer; nothing else is looked at here.
    pub(super) async fn exchange(
        &self,
        request: &TokenRequest<'_>,
    ) -> Result<(TokenResponse, Duration), Error> {
        let (http, observed) = self.http(request)?;
        let via = self.presents.map_or(Via::Tls, Via::Bound);
        if let (Some(observer), Some(observed)) = (&self.options.observer, &observed) {
            observer.before_request(observed);
        }
        tracing::debug!(host = self.endpoint.host(), leg = ?self.leg, correlation_id = %self.correlation_id, "token request");
        let before = self.client.clock.monotonic();
        let answer = self.client.transport.send(http, via).await;
        let took = self.client.clock.monotonic().saturating_sub(before);
        let answer = answer.map_err(|cause| Error::Transport { leg: self.leg, cause })?;
        let status = answer.response.status().as_u16();
        if let (Some(observer), Some(observed)) = (&self.options.observer, &observed) {
            observer.after_answer(observed, status);
        }
        tracing::debug!(host = self.endpoint.host(), status, correlation_id = %self.correlation_id, "token answer");
        let facts = header_facts(answer.response.headers());
        TokenResponse::parse(status, &facts, answer.response.body()).map(|response| (response, took)).map_err(
            |error| match error {
                AnswerError::Refused(answer) => Error::Refused { leg: self.leg, answer: Arc::from(answer) },
                AnswerError::Malformed(malformed) => Error::peer(self.leg, malformed.into()),
            },
        )
    }

    fn http(
        &self,
        request: &TokenRequest<'_>,
    ) -> Result<(http::Request<Bytes>, Option<ObservedRequest>), Error> {
        let url = with_query(self.endpoint.url(), &self.options.extras.query);
        let headers = headers::token_request(self.endpoint, self.kind, self.reason(), self.correlation_id);
        let observed = self.options.observer.is_some().then(|| self.observed(&url, &headers, request));
        let http = http::Request::post(url).body(Bytes::from_owner(request.encode()));
        let mut http = http.map_err(|_| {
            Error::misuse(self.leg, Misuse::QueryParameter { name: "(one of them)".to_owned() })
        })?;
        http.headers_mut().reserve(headers.len() + 1);
        http.headers_mut().extend(headers);
        Ok((http, observed))
    }

    fn observed(
        &self,
        url: &str,
        headers: &[(http::HeaderName, http::HeaderValue)],
        request: &TokenRequest<'_>,
    ) -> ObservedRequest {
        let value = |name: &str, value: &str| match name {
            "client_assertion" | "client_secret" => ObservedValue::Redacted(value.len()),
            _ => ObservedValue::Plain(value.to_owned()),
        };
        ObservedRequest {
            leg: self.leg,
            url: url.to_owned(),
            token_endpoint: self.endpoint.url().to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
                .collect(),
            body: request
                .parameters()
                .into_iter()
                .map(|(name, text)| (name.to_owned(), value(name, text)))
                .collect(),
            presents: self.presents.map(Binding::thumbprint),
        }
    }

    fn reason(&self) -> RefreshReason {
        if self.options.force_refresh || self.options.claims.is_some() || self.options.rejected.is_some() {
            RefreshReason::ForcedOrClaims
        } else {
            RefreshReason::NoCachedToken
        }
    }

    pub(super) fn report(&self, request: &TokenRequest<'_>, token_type: &str, took: Duration) -> LegReport {
        LegReport::new(self.endpoint, request, token_type, took)
    }
}

impl LegReport {
    fn new(endpoint: &TokenEndpoint, request: &TokenRequest<'_>, token_type: &str, took: Duration) -> Self {
        Self {
            endpoint: endpoint.url().to_owned(),
            token_type: token_type.to_owned(),
            client_assertion_type: assertion_type(request.proof),
            took,
        }
    }
}

fn assertion_type(proof: ClientProof<'_>) -> Option<&'static str> {
    proof.parameters().into_iter().find(|(name, _)| *name == "client_assertion_type").and_then(|(_, kind)| {
        match kind {
            certbound_core::credential::JWT_POP => Some(certbound_core::credential::JWT_POP),
            certbound_core::credential::JWT_BEARER => Some(certbound_core::credential::JWT_BEARER),
            _ => None,
        }
    })
}

/// The service takes query parameters as they stand; they were checked to be printable.
fn with_query(url: &str, query: &[(String, String)]) -> String {
    let mut url = url.to_owned();
    for (at, (name, value)) in query.iter().enumerate() {
        url.push(if at == 0 { '?' } else { '&' });
        url.push_str(name);
        url.push('=');
        url.push_str(value);
    }
    url
}

fn header_facts(headers: &http::HeaderMap) -> HeaderFacts {
    let text =
        |name: http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let retry_after = text(http::header::RETRY_AFTER).and_then(|value| value.trim().parse().ok());
    HeaderFacts {
        content_type: text(http::header::CONTENT_TYPE),
        retry_after: retry_after.map(Duration::from_secs),
        location: text(http::header::LOCATION),
        request_id: text(http::HeaderName::from_static("x-ms-request-id")),
    }
}

/// A token that passed every check of the client; only [`accept`] makes one.
pub(super) struct Accepted {
    pub(super) secret: Secret,
    pub(super) token_type: String,
    pub(super) scopes: Vec<String>,
    pub(super) scopes_granted: bool,
    pub(super) expires_at: UnixTime,
    pub(super) refresh_at: Option<UnixTime>,
    pub(super) binding_observed: bool,
    /// Whether the token reads as a JWT.
    pub(super) readable: bool,
}

/// Fails closed: the right type, the right scope, bound to our certificate, alive. Anything else is an error.
pub(super) fn accept(
    response: TokenResponse,
    request: &TokenRequest<'_>,
    binding: &Binding,
    leg: Option<Leg>,
    now: UnixTime,
) -> Result<Accepted, Error> {
    let peer = |what| Error::peer(leg, what);
    let asked = if request.bound { MTLS_POP } else { "Bearer" };
    if !response.token_type.eq_ignore_ascii_case(asked) {
        let found = response.token_type.chars().take(64).collect();
        return Err(peer(PeerMisbehaved::TokenTypeDowngraded { asked, found }));
    }
    if let Some(scopes) = response.scope.as_deref().filter(|scopes| !scopes.is_empty())
        && !scope::covers(scopes, request.scope)
    {
        let found = scopes.join(" ").chars().take(256).collect();
        return Err(peer(PeerMisbehaved::ScopeMismatch { asked: request.scope.to_owned(), found }));
    }
    let readable = jws::unverified_claims(response.access_token.expose());
    let binding_observed = match (&readable, request.bound) {
        (Ok(claims), true) => match claims.confirmation() {
            Err(error) => return Err(peer(PeerMisbehaved::BadConfirmation(error.to_string()))),
            Ok(Some(found)) if !binding.thumbprint().matches_claim(found) => {
                let found = found.to_owned();
                return Err(peer(PeerMisbehaved::BoundToAnother { expected: binding.thumbprint(), found }));
            }
            Ok(cnf) => cnf.is_some(),
        },
        _ => false,
    };
    let own_expiry = now.plus(response.expires_in);
    // A bound token is useless once its certificate has ended.
    let expires_at = if request.bound { own_expiry.min(binding.chain().not_after()) } else { own_expiry };
    if expires_at <= now {
        return Err(peer(PeerMisbehaved::TokenOver { expired: expires_at, now }));
    }
    let granted = response.scope.filter(|scopes| !scopes.is_empty());
    Ok(Accepted {
        secret: response.access_token,
        token_type: response.token_type,
        scopes_granted: granted.is_some(),
        scopes: granted.unwrap_or_else(|| vec![request.scope.to_owned()]),
        expires_at,
        refresh_at: response.refresh_in.map(|after| now.plus(after)),
        binding_observed,
        readable: readable.is_ok(),
    })
}

/// A token with everything that led to it.
pub(super) struct Fetched {
    pub(super) token: Accepted,
    pub(super) endpoint: TokenEndpoint,
    pub(super) tenant: TenantId,
    pub(super) proof: Proof,
    pub(super) asked: AssertionRequest,
    pub(super) in_leg1: Duration,
    pub(super) in_http: Duration,
}

impl Fetched {
    /// The token as the cache holds it, together with its certificate.
    pub(super) fn into_held(self, acquisition: &Acquisition, binding: &Binding) -> Held {
        let last = LegReport {
            endpoint: self.endpoint.url().to_owned(),
            token_type: self.token.token_type.clone(),
            client_assertion_type: assertion_type(wire_proof(&self.proof)),
            took: self.in_http,
        };
        let first = match &self.proof {
            Proof::Bound(assertion) => assertion.report().cloned(),
            _ => None,
        };
        let body = TokenBody {
            secret: self.token.secret,
            scopes: self.token.scopes,
            scopes_granted: self.token.scopes_granted,
            expires_at: self.token.expires_at,
            refresh_at: self.token.refresh_at,
            tenant: self.tenant.to_string(),
            endpoint: self.endpoint.url().to_owned(),
            region: self.endpoint.region().cloned(),
            correlation_id: self.asked.correlation_id,
            binding_observed: self.token.binding_observed,
            token_type: self.token.token_type,
            legs: first.into_iter().chain([last]).collect(),
            http: self.in_http,
            leg1: self.in_leg1,
        };
        let transport = Arc::clone(&acquisition.client.transport);
        Held(Arc::new(Inner { body, binding: binding.clone(), transport }))
    }
}
