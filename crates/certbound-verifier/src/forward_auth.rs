//! Decisions for a proxy that asks before it forwards: nginx `auth_request`, Caddy `forward_auth`, Envoy `ext_authz` over
//! HTTP.

mod serve;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::layer::{VerifyLayer, has_token, has_two_lengths};
use crate::refusal::Refusal;
use crate::verified::Verified;

/// Where proxies put the URL that the client asked for: nginx by convention, its ingress controller, Caddy and Traefik,
/// Envoy, IIS. A client that writes one of them past its proxy can only have its own request refused.
const URLS: [&str; 6] = [
    "x-original-uri",
    "x-original-url",
    "x-auth-request-redirect",
    "x-forwarded-uri",
    "x-envoy-original-path",
    "x-rewrite-url",
];

/// Answers a proxy's question: 200 with who calls, or the refusal.
///
/// An acceptance has all seven headers `X-Certbound-Client-Id`, `-Tenant-Id`, `-Object-Id`, `-Subject`, `-Roles`,
/// `-Scopes` and `-Certificate`, each empty where there is nothing to tell, so that a proxy that copies them leaves none
/// of what the client sent under the same name. A refusal has none of them: no proxy passes a refused request on.
///
/// Method, path and body are the client's and are not looked at, but for a token in the URL: the request's own, and the one
/// that the proxy names in `X-Original-URI`, `X-Forwarded-Uri` or a header like them. A malformed request of the client is
/// answered with 401 instead of 400, since nginx takes any status but 2xx, 401 and 403 for a fault of its own. A question
/// whose length is ambiguous is such a fault and stays 400.
#[derive(Clone)]
pub struct ForwardAuth {
    layer: VerifyLayer,
}

impl ForwardAuth {
    /// Decides as `layer` does; give it the proxy by [`VerifyLayer::behind`].
    pub fn new(layer: VerifyLayer) -> Self {
        Self { layer }
    }

    /// The answer to the proxy.
    pub async fn answer(&self, request: &Parts) -> Response<Bytes> {
        match self.decide(request).await {
            Ok(verified) => accepted(&verified),
            Err(refusal) => {
                let mut answer = self.layer.answer(&refusal);
                if answer.status() == StatusCode::BAD_REQUEST && refusal != Refusal::AmbiguousLength {
                    *answer.status_mut() = StatusCode::UNAUTHORIZED;
                }
                answer
            }
        }
    }

    async fn decide(&self, request: &Parts) -> Result<Verified, Refusal> {
        if has_two_lengths(&request.headers) {
            return Err(Refusal::AmbiguousLength);
        }
        let urls = URLS.into_iter().flat_map(|name| request.headers.get_all(name));
        let mut queries = urls.filter_map(|url| query_of(url.as_bytes()));
        if queries.any(has_token) {
            return Err(Refusal::TokenInUrl);
        }
        self.layer.verify(request).await
    }
}

fn query_of(url: &[u8]) -> Option<&[u8]> {
    let at = url.iter().position(|byte| *byte == b'?')?;
    url.get(at + 1..)
}

fn accepted(verified: &Verified) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let thumbprint = verified.thumbprint().map(|thumbprint| thumbprint.x5t_s256());
    for (name, value) in [
        ("x-certbound-client-id", one(verified.client_id())),
        ("x-certbound-tenant-id", one(verified.tenant_id())),
        ("x-certbound-object-id", one(verified.object_id())),
        ("x-certbound-subject", one(verified.subject())),
        ("x-certbound-roles", several(verified.roles())),
        ("x-certbound-scopes", several(verified.scopes())),
        ("x-certbound-certificate", one(thumbprint.as_deref())),
    ] {
        headers.insert(HeaderName::from_static(name), value);
    }
    response
}

/// A claim as a header, empty where it cannot be one: the resource must not see half of it. Only printable ASCII is the
/// same to every reader, and white space at either end is lost on the way.
fn one(claim: Option<&str>) -> HeaderValue {
    let claim = claim.filter(|claim| {
        claim.trim() == *claim && claim.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    });
    claim.and_then(|claim| HeaderValue::from_str(claim).ok()).unwrap_or(HeaderValue::from_static(""))
}

/// Several values with spaces between them, empty where one of them has a space of its own: it would read as two.
fn several<'a>(values: impl Iterator<Item = &'a str>) -> HeaderValue {
    let mut joined = String::new();
    for value in values {
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return HeaderValue::from_static("");
        }
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(value);
    }
    one(Some(&joined))
}
