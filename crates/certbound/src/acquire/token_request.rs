//! One request to the token service, with the checks of its response.
//!
//! [`Exchange::run`] sends every request to the token service, in both legs, and repeats it after a failure. Add spans
//! and logs of a request to this function. `managed_identity/bearer.rs` requests the Bearer tokens of a platform.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::credential::{ClientProof, JWT_BEARER, JWT_POP};
use certbound_core::endpoint::TokenEndpoint;
use certbound_core::refusal::HeaderFacts;
use certbound_core::request::{Grant, TokenRequest};
use certbound_core::response::{AnswerError, TokenResponse};
use certbound_core::time::UnixTime;
use http::StatusCode;

use super::accept::{Accepted, accept};
use super::context::Context;
use super::headers::{self, Api, RefreshReason, Telemetry};
use super::options::Options;
use super::request_key::RequestKey;
use crate::cache::Kind;
use crate::certificate::BindingCertificate;
use crate::correlation::CorrelationId;
use crate::credential::Proof;
use crate::error::{ASSERTION_MARGIN, Error, Leg, Misuse, RequestTarget, TransportError};
use crate::observe::{LegReport, ObservedRequest, ObservedValue, Observers, RequestTo, ThrottledRequest};
use crate::retry::{Attempts, TOKEN_SERVICE, retry_after};
use crate::span::Target;
use crate::transport::{Sending, Via};

/// Converts the proof to its wire form. The assertion type follows from the kind of proof.
pub(crate) fn wire_proof(proof: &Proof) -> ClientProof<'_> {
    match proof {
        Proof::CertificateOnly => ClientProof::CertificateOnly,
        Proof::Bound(assertion) => ClientProof::BoundAssertion(assertion.secret()),
        Proof::Jwt(jwt) => ClientProof::SignedAssertion(jwt),
        Proof::Secret(secret) => ClientProof::Secret(secret),
    }
}

/// The inputs of one request to the token service, besides its body.
pub(crate) struct Exchange<'a> {
    pub(crate) context: &'a Context,
    pub(crate) leg: Option<Leg>,
    pub(crate) endpoint: &'a TokenEndpoint,
    pub(crate) kind: Kind,
    pub(crate) api: Api,
    /// The certificate by which the client authenticates. A bound token must name it.
    pub(crate) certificate: Option<&'a BindingCertificate>,
    /// Whether TLS presents the certificate. Otherwise its key signed the assertion.
    pub(crate) over_mtls: bool,
    /// The expiry of the request's assertion, if the request has an assertion with a known expiry.
    pub(crate) assertion_expires_at: Option<UnixTime>,
    /// Whether scopes that differ only in case are equal.
    pub(crate) ignores_case: bool,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) reason: RefreshReason,
    pub(crate) options: &'a Options,
}

impl Exchange<'_> {
    /// Sends the request and checks the response. The function repeats a failed request if the table of retries allows
    /// a retry. An error contains the facts of the last attempt.
    pub(crate) async fn run(&self, request: &TokenRequest<'_>) -> Result<(Accepted, LegReport), Error> {
        self.check_throttle(request.scope, request.claims)?;
        let clock = &self.context.clock;
        let mut attempts = Attempts::new(self.context.retry_policy, &TOKEN_SERVICE);
        let (sent_at, took, sent) = loop {
            // The lifetime of the token can begin at the time of the request.
            let (sent_at, before) = (clock.now(), clock.monotonic());
            let sent = self.send(request, attempts.next()).await?;
            let took = clock.monotonic().saturating_sub(before);
            let may_wait = |wait| self.can_wait(wait);
            if !attempts.again(&sent, self.endpoint.host(), &**clock, may_wait).await {
                break (sent_at, took, sent);
            }
            // In the meantime, the response to an equal request may have asked the client to wait.
            self.check_throttle(request.scope, request.claims)?;
        };
        let date = sent.as_ref().ok().and_then(|answer| headers::date(answer.headers()));
        let clock_ahead = date.map(|date| seconds(clock.now()) - seconds(date));
        let refused = sent.as_ref().ok().filter(|answer| answer.status() != StatusCode::OK);
        let asked = refused.and_then(|answer| retry_after(answer.headers(), clock.now()));
        let answer = sent.map_err(|cause| Error::transport(self.leg, cause));
        let accepted = answer.and_then(|answer| {
            let response = self.parse(&answer).map_err(|error| error.without(&request.secrets()))?;
            accept(response, request, self, sent_at)
        });
        let token = accepted.map_err(|error| {
            let error = error.at(self.target(request, clock_ahead, attempts.made()));
            if let Some(wait) = asked {
                let key = self.key(request.scope, request.claims);
                self.context.throttle.keep(key, Arc::new(error.clone()), wait, clock.now());
            }
            error
        })?;
        let report = LegReport {
            endpoint: self.endpoint.url().to_owned(),
            region: self.endpoint.region().cloned(),
            region_outcome: self.endpoint.region_outcome().clone(),
            token_type: token.token_type.clone(),
            client_assertion_type: assertion_type(request.proof),
            took,
            attempts: attempts.made(),
        };
        Ok((token, report))
    }

    /// Refuses to send the request during the wait that the response to an equal request demanded.
    pub(crate) fn check_throttle(&self, scope: &str, claims: Option<&str>) -> Result<(), Error> {
        let (throttle, now) = (&self.context.throttle, self.context.clock.now());
        match throttle.find(|| self.key(scope, claims), now) {
            None => Ok(()),
            Some((first, left)) => {
                tracing::debug!(host = self.endpoint.host(), ?left, correlation_id = %self.correlation_id, "the token request is not sent, because the service asked to wait");
                let region = self.endpoint.region();
                let request = ThrottledRequest { to: RequestTo::TokenService, leg: self.leg, region, left };
                self.observers().each(|observer| observer.throttled(&request));
                Err(Error::Throttled { first, left })
            }
        }
    }

    fn key(&self, scope: &str, claims: Option<&str>) -> RequestKey {
        RequestKey {
            endpoint: self.endpoint.url().into(),
            kind: self.kind,
            scope: scope.into(),
            claims: claims.map(Into::into),
            certificate: self.certificate.map(BindingCertificate::thumbprint),
            extras: self.options.extras.clone(),
        }
    }

    /// Returns whether the assertion can still be sent after `wait`. The service would refuse an expired assertion, and
    /// this refusal would hide the failure that the retry is for.
    fn can_wait(&self, wait: Duration) -> bool {
        let sent_at = self.context.clock.now().plus(wait + Duration::from_secs(1));
        self.assertion_expires_at.is_none_or(|expires_at| sent_at.plus(ASSERTION_MARGIN) < expires_at)
    }

    /// Returns the certificate that the token must name. The result is `None` for a Bearer token.
    pub(super) fn binds_to(&self) -> Option<&BindingCertificate> {
        self.certificate.filter(|_| self.kind == Kind::Bound)
    }

    fn presents(&self) -> Option<&BindingCertificate> {
        self.certificate.filter(|_| self.over_mtls)
    }

    fn target(&self, request: &TokenRequest<'_>, clock_ahead: Option<i64>, attempts: u32) -> RequestTarget {
        RequestTarget {
            endpoint: self.endpoint.url().to_owned(),
            tenant: self.endpoint.tenant().cloned(),
            region: self.endpoint.region().cloned(),
            region_outcome: self.endpoint.region_outcome().clone(),
            correlation_id: self.correlation_id.to_string(),
            authority: None,
            certificate: self.certificate.map(BindingCertificate::thumbprint),
            certificate_subject: self.certificate.map(|certificate| certificate.chain().subject().to_owned()),
            of_managed_identity: matches!(request.grant, Grant::ManagedIdentity),
            clock_ahead,
            attempts,
        }
    }

    /// Sends the request once.
    ///
    /// # Errors
    /// An error, if the request cannot be built. A failure of the network is in the inner result.
    async fn send(
        &self,
        request: &TokenRequest<'_>,
        attempt: u32,
    ) -> Result<Result<http::Response<Bytes>, TransportError>, Error> {
        let (http, observed) = self.http(request, attempt)?;
        let via = self.presents().map_or(Via::Tls, Via::Bound);
        if let Some(observed) = &observed {
            self.observers().each(|observer| observer.before_request(observed));
        }
        tracing::debug!(host = self.endpoint.host(), leg = ?self.leg, correlation_id = %self.correlation_id, "token request");
        let sending = self.sending(&http, attempt);
        let answer = match sending.run(self.context.transport.send(http, via)).await {
            Ok(answer) => answer.response,
            Err(cause) => return Ok(Err(cause)),
        };
        let status = answer.status().as_u16();
        if let Some(observed) = &observed {
            self.observers().each(|observer| observer.after_answer(observed, status));
        }
        tracing::debug!(host = self.endpoint.host(), status, correlation_id = %self.correlation_id, "token answer");
        Ok(Ok(answer))
    }

    fn sending<'s>(&'s self, request: &http::Request<Bytes>, attempt: u32) -> Sending<'s> {
        let (leg, region, id) = (self.leg, self.endpoint.region(), self.correlation_id);
        let target = Target::TokenService { leg, region, id };
        Sending::open(target, (request, attempt), self.observers(), &*self.context.clock)
    }

    fn observers(&self) -> Observers<'_> {
        self.context.observers(self.options.observer.as_ref())
    }

    fn parse(&self, answer: &http::Response<Bytes>) -> Result<TokenResponse, Error> {
        let status = answer.status().as_u16();
        // The parser needs no header of a successful response.
        let facts = if status == 200 {
            HeaderFacts::default()
        } else {
            headers::facts(answer.headers(), self.context.clock.now())
        };
        TokenResponse::parse(status, &facts, answer.body()).map_err(|error| match error {
            AnswerError::Refused(answer) => Error::refused(self.leg, answer),
            AnswerError::Malformed(malformed) => Error::peer(self.leg, malformed.into()),
        })
    }

    fn http(
        &self,
        request: &TokenRequest<'_>,
        attempt: u32,
    ) -> Result<(http::Request<Bytes>, Option<ObservedRequest>), Error> {
        let url = with_query(self.endpoint.url(), &self.options.extras.query);
        let telemetry = Telemetry {
            api: self.api,
            kind: self.kind,
            reason: self.reason,
            caller: self.options.caller.each_ref().map(String::as_str),
        };
        let headers = headers::token_request(self.endpoint, telemetry, self.correlation_id);
        let is_observed = !self.observers().is_empty();
        let observed = is_observed.then(|| self.observed(&url, &headers, request, attempt));
        let http = http::Request::post(url).body(Bytes::from_owner(request.encode()));
        let mut http = http.map_err(|_| Error::misuse(self.leg, Misuse::QueryNotOfAUrl))?;
        http.headers_mut().reserve(headers.len() + 1);
        http.headers_mut().extend(headers);
        Ok((http, observed))
    }

    fn observed(
        &self,
        url: &str,
        headers: &[(http::HeaderName, http::HeaderValue)],
        request: &TokenRequest<'_>,
        attempt: u32,
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
            presents: self.presents().map(BindingCertificate::thumbprint),
            attempt,
        }
    }
}

/// Returns the seconds since the epoch as a signed number. A time that does not fit is replaced by `i64::MAX`.
fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn assertion_type(proof: ClientProof<'_>) -> Option<&'static str> {
    let parameters = proof.parameters();
    let (_, found) = parameters.into_iter().find(|(name, _)| *name == "client_assertion_type")?;
    [JWT_POP, JWT_BEARER].into_iter().find(|known| *known == found)
}

/// Appends the query parameters unchanged. `Options::check` has checked that they are printable. The endpoint of an OpenID
/// issuer can have a query already (RFC 6749, section 3.2).
fn with_query(url: &str, query: &[(String, String)]) -> String {
    let mut url = url.to_owned();
    for (name, value) in query {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(name);
        url.push('=');
        url.push_str(value);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_follow_the_query_of_the_endpoint() {
        let query = [("a", "b"), ("c", "d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(with_query("https://idp.example/token", &query), "https://idp.example/token?a=b&c=d");
        let with_own = with_query("https://idp.example/token?x=1", &query);
        assert_eq!(with_own, "https://idp.example/token?x=1&a=b&c=d");
        assert_eq!(with_query("https://idp.example/token", &[]), "https://idp.example/token");
    }
}
