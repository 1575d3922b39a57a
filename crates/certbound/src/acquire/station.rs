//! The stations between a proof and a token: the request, sent, and what came of it as the cache keeps it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::credential::ClientProof;
use certbound_core::endpoint::TokenEndpoint;
use certbound_core::request::TokenRequest;
use certbound_core::response::{AnswerError, HeaderFacts, TokenResponse};
use certbound_core::tenant::TenantId;

use super::accept::Accepted;
use super::{Acquisition, Options};
use crate::acquire::headers::{self, RefreshReason, Telemetry};
use crate::cache::{RequestSeq, Connections, Entry, Kind, Loaded, LoadedFrom, Origin, Report, CachedToken};
use crate::certificate::Binding;
use crate::clock::Clock;
use crate::correlation::CorrelationId;
use crate::credential::{AssertionRequest, Proof};
use crate::error::{Error, Leg, Misuse};
use crate::observe::{LegReport, ObservedRequest, ObservedValue};
use crate::transport::{AnyTransport, Via};

/// The proof as the wire has it. The assertion type follows from what the proof is.
pub(crate) fn wire_proof(proof: &Proof) -> ClientProof<'_> {
    match proof {
        Proof::CertificateOnly => ClientProof::CertificateOnly,
        Proof::Bound(assertion) => ClientProof::BoundAssertion(assertion.secret()),
        Proof::Jwt(jwt) => ClientProof::SignedAssertion(jwt),
        Proof::Secret(secret) => ClientProof::Secret(secret),
    }
}

/// A request on its way.
pub(crate) struct Sent<'a> {
    pub(crate) transport: &'a dyn AnyTransport,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) leg: Option<Leg>,
    pub(crate) endpoint: &'a TokenEndpoint,
    pub(crate) kind: Kind,
    /// Which of the service's flows it is, as the telemetry header numbers them.
    pub(crate) api: &'static str,
    pub(crate) presents: Option<&'a Binding>,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) reason: RefreshReason,
    pub(crate) options: &'a Options,
}

impl Sent<'_> {
    /// Sends the request and parses its answer; nothing else is looked at here.
    pub(crate) async fn exchange(
        &self,
        request: &TokenRequest<'_>,
    ) -> Result<(TokenResponse, Duration), Error> {
        let (http, observed) = self.http(request)?;
        let via = self.presents.map_or(Via::Tls, Via::Bound);
        if let (Some(observer), Some(observed)) = (&self.options.observer, &observed) {
            observer.before_request(observed);
        }
        tracing::debug!(host = self.endpoint.host(), leg = ?self.leg, correlation_id = %self.correlation_id, "token request");
        let before = self.clock.monotonic();
        let answer = self.transport.send(http, via).await;
        let took = self.clock.monotonic().saturating_sub(before);
        let answer = answer.map_err(|cause| Error::Transport { leg: self.leg, cause })?;
        let status = answer.response.status().as_u16();
        if let (Some(observer), Some(observed)) = (&self.options.observer, &observed) {
            observer.after_answer(observed, status);
        }
        tracing::debug!(host = self.endpoint.host(), status, correlation_id = %self.correlation_id, "token answer");
        // Those of a token are not looked at.
        let facts =
            if status == 200 { HeaderFacts::default() } else { headers::facts(answer.response.headers()) };
        let response = TokenResponse::parse(status, &facts, answer.response.body());
        response.map(|response| (response, took)).map_err(|error| {
            let error = match error {
                AnswerError::Refused(answer) => Error::Refused { leg: self.leg, answer: Arc::from(answer) },
                AnswerError::Malformed(malformed) => Error::peer(self.leg, malformed.into()),
            };
            error.without(&request.secrets())
        })
    }

    fn http(
        &self,
        request: &TokenRequest<'_>,
    ) -> Result<(http::Request<Bytes>, Option<ObservedRequest>), Error> {
        let url = with_query(self.endpoint.url(), &self.options.extras.query);
        let telemetry = Telemetry {
            api: self.api,
            kind: self.kind,
            reason: self.reason,
            caller: self.options.caller.each_ref().map(String::as_str),
        };
        let headers = headers::token_request(self.endpoint, telemetry, self.correlation_id);
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
        let value = |name: &str, value: &str| match TokenRequest::is_secret(name) {
            true => ObservedValue::Redacted(value.len()),
            false => ObservedValue::Plain(value.to_owned()),
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

    pub(crate) fn report(&self, request: &TokenRequest<'_>, token_type: &str, took: Duration) -> LegReport {
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

/// A token with everything that led to it.
pub(super) struct Fetched {
    pub(super) begun: RequestSeq,
    pub(super) token: Accepted,
    pub(crate) endpoint: TokenEndpoint,
    pub(super) tenant: Option<TenantId>,
    pub(super) proof: Proof,
    pub(super) asked: AssertionRequest,
    pub(super) in_leg1: Duration,
    pub(super) in_http: Duration,
}

impl Fetched {
    /// The token as the cache holds it, a bound one together with its certificate; and how it was fetched.
    pub(super) fn land(
        self,
        acquisition: &Acquisition,
        certificate: Option<&Binding>,
    ) -> Result<Loaded, Error> {
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
        let report = Report {
            legs: first.into_iter().chain([last]).collect(),
            http: self.in_http,
            leg1: self.in_leg1,
        };
        let client = &acquisition.client;
        let origin = Origin {
            endpoint: self.endpoint.url().into(),
            tenant: self.tenant.map_or_else(Box::default, |tenant| tenant.as_str().into()),
            region: self.endpoint.region().cloned(),
            token_type: self.token.token_type.as_str().into(),
            binding_observed: self.token.binding_observed,
            by_resource: false,
            connections: Connections(Arc::clone(&client.transport)),
        };
        let key = acquisition.key(certificate).to_key_of(certificate);
        let (life, body) =
            self.token.stored(self.begun, client.origins.shared(origin), self.asked.correlation_id);
        let held = match (acquisition.kind, certificate) {
            (Kind::Bearer, _) => Entry::Bearer(Arc::new(CachedToken { key, life, body, binding: () })),
            (Kind::Bound, Some(binding)) => {
                Entry::Bound(Arc::new(CachedToken { key, life, body, binding: binding.clone() }))
            }
            (Kind::Bound, None) => return Err(acquisition.blame(Misuse::CertificateNotProvided)),
        };
        Ok(Loaded { held, from: LoadedFrom::Service(Arc::new(report)) })
    }
}
