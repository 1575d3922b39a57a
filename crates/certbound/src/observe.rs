//! Seeing requests before they are sent, and the report on `jwt-pop` that stands on it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::credential::JWT_POP;

use crate::error::Leg;

/// Is told of each token request just before it is sent. It cannot change it.
///
/// Called on the task that acquires; it must not block. Closures `Fn(&ObservedRequest)` are observers.
pub trait Observer: Send + Sync + 'static {
    /// A request is about to be sent.
    fn before_request(&self, request: &ObservedRequest);

    /// Its answer's status came.
    fn after_answer(&self, _request: &ObservedRequest, _status: u16) {}
}

impl<F: Fn(&ObservedRequest) + Send + Sync + 'static> Observer for F {
    fn before_request(&self, request: &ObservedRequest) {
        self(request);
    }
}

/// A token request as it will be sent, with every secret value replaced by its length.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedRequest {
    /// Which leg it is; none in the direct flow.
    pub leg: Option<Leg>,
    /// The full URL.
    pub url: String,
    /// The token endpoint, without query.
    pub token_endpoint: String,
    /// Headers in the order sent.
    pub headers: Vec<(String, String)>,
    /// Body parameters in the order sent.
    pub body: Vec<(String, ObservedValue)>,
    /// The certificate that TLS presents, if any.
    pub presents: Option<Thumbprint>,
}

/// The value of a body parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedValue {
    /// Not a secret.
    Plain(String),
    /// A secret of this many bytes.
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
    /// The value of a body parameter.
    pub fn parameter(&self, name: &str) -> Option<&ObservedValue> {
        self.body.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// What a Leg 2 request showed of its `jwt-pop` configuration.
///
/// Make one, give a clone of its `Arc` to `.observe(..)`, and read it afterwards. It reports the last request of Leg 2
/// that was sent; on a cache hit nothing is sent and it stays empty.
#[derive(Debug, Default)]
pub struct JwtPopReport {
    seen: Mutex<Option<JwtPop>>,
}

/// The facts of a [`JwtPopReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtPop {
    /// The token endpoint that was named to Leg 1.
    pub token_endpoint: String,
    /// The URL the request went to.
    pub request_uri: String,
    /// `client_assertion` was there.
    pub has_client_assertion: bool,
    /// `client_assertion_type` was there.
    pub has_client_assertion_type: bool,
    /// Its value.
    pub client_assertion_type: Option<String>,
    /// The certificate that TLS presented.
    pub presents: Option<Thumbprint>,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// A stable name.
    pub id: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was seen.
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
    /// What was seen; none when no request of Leg 2 was sent.
    pub fn facts(&self) -> Option<JwtPop> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The facts judged, a line each; none when no request was sent.
    pub fn checks(&self) -> Vec<Check> {
        self.facts().as_ref().map(JwtPop::checks).unwrap_or_default()
    }
}

impl JwtPop {
    /// The facts judged, a line each.
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

/// In every cloud the mTLS host is `[{region}.]mtlsauth.{domain}`.
fn is_mtls_host(host: &str) -> bool {
    host.starts_with("mtlsauth.")
        || host.split_once('.').is_some_and(|(_, rest)| rest.starts_with("mtlsauth."))
}

/// What Leg 1's own request looked like, for details.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegReport {
    /// The token endpoint.
    pub endpoint: String,
    /// The `token_type` of the answer.
    pub token_type: String,
    /// `client_assertion_type` of the request, if it carried an assertion.
    pub client_assertion_type: Option<&'static str>,
    /// How long the request took.
    pub took: Duration,
}
