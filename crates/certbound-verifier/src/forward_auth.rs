//! Decisions for a proxy that forwards only accepted requests: nginx `auth_request`, Caddy `forward_auth`, Envoy
//! `ext_authz` over HTTP.

mod serve;

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use certbound_core::shown::shown;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use crate::layer::{VerifyLayer, has_token, has_two_lengths};
use crate::refusal::Refusal;
use crate::verified::Verified;

/// The headers in which nginx (by convention), the ingress controller of nginx, Caddy, Traefik, Envoy and IIS put the
/// URL of the client's request. A client that sends one of these headers itself can only cause the refusal of its own
/// request, or a false path in the log.
const URLS: [&str; 6] = [
    "x-original-uri",
    "x-original-url",
    "x-auth-request-redirect",
    "x-forwarded-uri",
    "x-envoy-original-path",
    "x-rewrite-url",
];

/// The headers in which nginx (by convention), Caddy and Traefik put the method of the client's request.
const METHODS: [&str; 2] = ["x-original-method", "x-forwarded-method"];

/// Answers the forward-auth request of a proxy: with 200 and the caller's identity, or with the refusal.
///
/// An acceptance always has these seven headers: `X-Certbound-Client-Id`, `-Tenant-Id`, `-Object-Id`, `-Subject`,
/// `-Roles`, `-Scopes` and `-Certificate`. If the token has no value for a header, the header is empty. So a proxy that
/// copies the seven headers replaces all headers of the client with these names. A refusal does not have these headers,
/// because no proxy forwards a refused request.
///
/// `ForwardAuth` checks neither method nor path nor body, because they belong to the client's request. It checks the
/// URLs for a token: the request's own URL, and the URL that the proxy sends in `X-Original-URI`, `X-Forwarded-Uri` or
/// a similar header. The response to a malformed request of the client is 401 instead of 400, because nginx treats any
/// status but 2xx, 401 and 403 as its own failure. An ambiguous length is a failure of the proxy, so its response is
/// 400.
///
/// Clones decide with the same layer, also after [`ForwardAuth::replace`].
#[derive(Clone)]
pub struct ForwardAuth {
    layer: Arc<ArcSwap<VerifyLayer>>,
}

impl ForwardAuth {
    /// Makes a value that decides like `layer`. Set the proxy with [`VerifyLayer::behind`].
    ///
    /// A proxy reads the HTTP status. A layer with [`AnswerStyle::Grpc`](crate::AnswerStyle::Grpc) therefore gets the
    /// style of its binding policy ([`AnswerStyle::for_binding`](crate::AnswerStyle::for_binding)).
    pub fn new(layer: VerifyLayer) -> Self {
        Self { layer: Arc::new(ArcSwap::from_pointee(layer.over_http())) }
    }

    /// Replaces the layer. The new layer decides about each later request, also on open connections. A decision that
    /// has begun ends with the earlier layer.
    pub fn replace(&self, layer: VerifyLayer) {
        self.layer.store(Arc::new(layer.over_http()));
    }

    /// The layer that decides about the next request.
    pub fn layer(&self) -> Arc<VerifyLayer> {
        self.layer.load_full()
    }

    /// Returns the response to the proxy. Logs a warning for each refused request: the client that the token names, the
    /// method, the path, the code, the duration in microseconds and the reason. Logs client, method, path and duration
    /// of each accepted request with the level debug. The log contains neither the token nor the query.
    pub async fn answer(&self, request: &Parts) -> Response<Bytes> {
        let (began, layer) = (Instant::now(), self.layer());
        let decision = decide(&layer, request).await;
        let duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match decision {
            Ok(verified) => {
                if tracing::enabled!(tracing::Level::DEBUG) {
                    let client = verified.client_id().map_or_else(|| "(none)".to_owned(), shown);
                    let (method, path) = (method_of(request), shown(&path_of(request)));
                    tracing::debug!(client, method, path, duration_us, "request accepted");
                }
                accepted(&verified)
            }
            Err(refusal) => {
                let client = layer.claimed_client(request).unwrap_or_else(|| "(none)".to_owned());
                let (method, path) = (method_of(request), shown(&path_of(request)));
                let code = refusal.code();
                tracing::warn!(client, method, path, code, duration_us, reason = %refusal, "request refused");
                let mut answer = layer.response(&refusal);
                if answer.status() == StatusCode::BAD_REQUEST && refusal != Refusal::AmbiguousLength {
                    *answer.status_mut() = StatusCode::UNAUTHORIZED;
                }
                answer
            }
        }
    }
}

async fn decide(layer: &VerifyLayer, request: &Parts) -> Result<Verified, Refusal> {
    if has_two_lengths(&request.headers) {
        return Err(layer.refuse(Refusal::AmbiguousLength));
    }
    if client_urls(request).filter_map(|url| split(url).1).any(has_token) {
        return Err(layer.refuse(Refusal::TokenInUrl));
    }
    layer.verify(request).await
}

/// Returns the method of the client's request, as the proxy sends it. If the proxy does not send this method, the
/// result is the method of the proxy's own request.
fn method_of(request: &Parts) -> String {
    let sent = METHODS.into_iter().find_map(|name| request.headers.get(name));
    shown(&String::from_utf8_lossy(sent.map_or(request.method.as_str().as_bytes(), HeaderValue::as_bytes)))
}

/// Returns the client's URLs as the proxy's headers contain them.
fn client_urls(request: &Parts) -> impl Iterator<Item = &[u8]> {
    URLS.into_iter().flat_map(|name| request.headers.get_all(name)).map(HeaderValue::as_bytes)
}

/// Returns the URL that the client requested, without its query. If the proxy does not send this URL, the result is the
/// path of the proxy's own request.
fn path_of(request: &Parts) -> Cow<'_, str> {
    let path = client_urls(request).next().map_or(request.uri.path().as_bytes(), |url| split(url).0);
    String::from_utf8_lossy(path)
}

/// Splits a URL at its query.
fn split(url: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = url.splitn(2, |byte| *byte == b'?');
    (parts.next().unwrap_or_default(), parts.next())
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

/// Returns a claim as a header value. The value is empty if the claim has a character outside printable ASCII, or white
/// space at an end: other parsers could read a different value.
fn one(claim: Option<&str>) -> HeaderValue {
    let claim = claim.filter(|claim| {
        claim.trim() == *claim && claim.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    });
    claim.and_then(|claim| HeaderValue::from_str(claim).ok()).unwrap_or(HeaderValue::from_static(""))
}

/// Joins several values with spaces. The result is empty if a value is empty, or has a space or a character outside
/// printable ASCII: other parsers could read different values.
fn several<'a>(values: impl Iterator<Item = &'a str>) -> HeaderValue {
    let values: Vec<_> = values.collect();
    let is_word = |value: &&str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    one(values.iter().all(is_word).then(|| values.join(" ")).as_deref())
}
