//! Observers of requests and acquisitions, the report on `jwt-pop`, and the correlation id.

mod completed;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::credential::JWT_POP;
use certbound_core::region::{Region, RegionOutcome};

pub use self::completed::{
    AcquisitionResult, CompletedAcquisition, CompletedRequest, Parts, RequestTo, ThrottledRequest,
    TokenOrigin,
};
pub use crate::correlation::{CorrelationId, NotACorrelationId};
use crate::error::Leg;

/// An observer of token requests and acquisitions. An observer cannot change requests or acquisitions.
///
/// An acquisition can have an observer ([`Acquire::observe`](crate::Acquire::observe)), and so can a client or a
/// managed identity (`with_observer` of its builder). The observer is called on async tasks, so it must not block.
/// Closures `Fn(&ObservedRequest)` are observers. By default, all functions except `before_request` do nothing.
pub trait Observer: Send + Sync + 'static {
    /// Observes a request to a token endpoint just before it is sent, for each attempt.
    fn before_request(&self, request: &ObservedRequest);

    /// Observes the HTTP status of the response of a token endpoint.
    fn after_answer(&self, _request: &ObservedRequest, _status: u16) {}

    /// Observes the end of a request, for each attempt. The observer of a client or a managed identity also sees
    /// requests to platforms and for discovery, and the requests of a region detection that its client started. No
    /// observer sees requests to resources.
    fn after_request(&self, _request: &CompletedRequest<'_>) {}

    /// Observes a throttled request: the response to an equal request asked the client to wait. Only the observer of a
    /// managed identity sees this event for its platform.
    fn throttled(&self, _request: &ThrottledRequest<'_>) {}

    /// Observes the end of an acquisition. This function is not called for a cache hit, a refresh in the background, or
    /// an assertion that is requested alone. [`CacheStatistics`] counts cache hits.
    ///
    /// [`CacheStatistics`]: crate::cache::CacheStatistics
    fn after_acquisition(&self, _acquisition: &CompletedAcquisition<'_>) {}
}

/// The observers of one acquisition: the observer of the call and the observer of the client.
#[derive(Clone, Copy)]
pub(crate) struct Observers<'a>([Option<&'a Arc<dyn Observer>>; 2]);

impl<'a> Observers<'a> {
    pub(crate) fn new(
        of_call: Option<&'a Arc<dyn Observer>>,
        of_client: Option<&'a Arc<dyn Observer>>,
    ) -> Self {
        Self([of_call, of_client])
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub(crate) fn each(self, observe: impl Fn(&dyn Observer)) {
        self.0.into_iter().flatten().for_each(|observer| observe(&**observer));
    }
}

impl<F: Fn(&ObservedRequest) + Send + Sync + 'static> Observer for F {
    fn before_request(&self, request: &ObservedRequest) {
        self(request);
    }
}

/// A token request as it will be sent. Each secret value is replaced by its length.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedRequest {
    /// The leg of the request. It is `None` in the direct flow.
    pub leg: Option<Leg>,
    /// The full URL.
    pub url: String,
    /// The token endpoint, without the query parameters of the request.
    pub token_endpoint: String,
    /// The headers, in the order in which they are sent. The transport can add headers, for example `host`.
    pub headers: Vec<(String, String)>,
    /// The parameters of the body, in the order in which they are sent.
    pub body: Vec<(String, ObservedValue)>,
    /// The certificate that TLS presents, if any.
    pub presents: Option<Thumbprint>,
    /// The number of this attempt: 1, or more if the request is sent again after a failure.
    pub attempt: u32,
}

/// The value of a body parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedValue {
    /// A value that is not secret.
    Plain(String),
    /// The length of a secret value, in bytes.
    Redacted(usize),
}

impl fmt::Display for ObservedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(value) => f.write_str(value),
            Self::Redacted(length) => write!(f, "<redacted, {length} bytes>"),
        }
    }
}

impl ObservedRequest {
    /// Returns the value of a body parameter.
    pub fn parameter(&self, name: &str) -> Option<&ObservedValue> {
        self.body.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// An observer that reports the use of `jwt-pop` in a request of Leg 2.
///
/// Create a report, pass a clone of its `Arc` to `.observe(..)`, and read the report after the call. The report is
/// about the last request of Leg 2. On a cache hit no request is sent, so the report is empty.
#[derive(Debug, Default)]
pub struct JwtPopReport {
    seen: Mutex<Option<JwtPop>>,
}

/// The facts of a [`JwtPopReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtPop {
    /// The token endpoint of the request, without the query parameters of the request.
    pub token_endpoint: String,
    /// The URL of the request.
    pub request_uri: String,
    /// Whether the request had `client_assertion`.
    pub has_client_assertion: bool,
    /// Whether the request had `client_assertion_type`.
    pub has_client_assertion_type: bool,
    /// The value of `client_assertion_type`.
    pub client_assertion_type: Option<String>,
    /// The certificate that TLS presented.
    pub presents: Option<Thumbprint>,
}

/// One check of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// A stable name of the check.
    pub id: &'static str,
    /// Whether the check passed.
    pub ok: bool,
    /// The facts that were checked.
    pub text: String,
}

impl Observer for JwtPopReport {
    fn before_request(&self, request: &ObservedRequest) {
        if request.leg != Some(Leg::Two) {
            return;
        }
        let seen = JwtPop {
            token_endpoint: request.token_endpoint.clone(),
            request_uri: request.url.clone(),
            has_client_assertion: request.parameter("client_assertion").is_some(),
            has_client_assertion_type: request.parameter("client_assertion_type").is_some(),
            client_assertion_type: request.parameter("client_assertion_type").map(ToString::to_string),
            presents: request.presents,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }
}

impl JwtPopReport {
    /// Returns the facts, or `None` if no request of Leg 2 was sent.
    pub fn facts(&self) -> Option<JwtPop> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the checks of the facts. The list is empty if no request of Leg 2 was sent.
    pub fn checks(&self) -> Vec<Check> {
        self.facts().as_ref().map(JwtPop::checks).unwrap_or_default()
    }
}

impl JwtPop {
    /// Returns the five checks of the facts.
    pub fn checks(&self) -> Vec<Check> {
        let check = |id, ok, text: String| Check { id, ok, text };
        let kind = self.client_assertion_type.as_deref().unwrap_or("none");
        let host = host_of(&self.request_uri);
        vec![
            check("client_assertion", self.has_client_assertion, "client_assertion parameter".to_owned()),
            check(
                "client_assertion_type",
                self.has_client_assertion_type,
                "client_assertion_type parameter".to_owned(),
            ),
            check("jwt_pop", kind == JWT_POP, format!("client_assertion_type is {kind}")),
            check("mtls_endpoint", is_mtls_host(host), format!("mTLS endpoint: {}", self.request_uri)),
            check(
                "presents_certificate",
                self.presents.is_some(),
                "TLS presents the binding certificate".to_owned(),
            ),
        ]
    }
}

fn host_of(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    rest.split(['/', ':', '?']).next().unwrap_or_default()
}

/// Returns whether a host is an mTLS host. In every cloud its form is `[{region}.]mtlsauth.{domain}`.
fn is_mtls_host(host: &str) -> bool {
    host.starts_with("mtlsauth.")
        || host.split_once('.').is_some_and(|(_, rest)| rest.starts_with("mtlsauth."))
}

/// The facts of one request to the token service, for a token's details.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegReport {
    /// The token endpoint.
    pub endpoint: String,
    /// The region of the token endpoint, if it has a region.
    pub region: Option<Region>,
    /// The way in which the region was determined.
    pub region_outcome: RegionOutcome,
    /// The `token_type` of the response.
    pub token_type: String,
    /// `client_assertion_type` of the request, if the request had an assertion.
    pub client_assertion_type: Option<&'static str>,
    /// The duration of the last attempt of the request.
    pub took: Duration,
    /// The number of attempts: 1, or more if the request was sent again after a failure.
    pub attempts: u32,
}
