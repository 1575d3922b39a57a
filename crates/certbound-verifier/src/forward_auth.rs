//! Decisions for a proxy that asks before it forwards: nginx `auth_request`, Envoy `ext_authz` over HTTP.

mod serve;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::layer::{VerifyLayer, has_token};
use crate::refusal::Refusal;
use crate::verified::Verified;

/// Answers a proxy's question: 200 with who calls, or the refusal.
///
/// Method, path and body are the client's and are not looked at, but for a token in the URL, which the proxy names in
/// `X-Original-URI`. A malformed request is answered with 401 instead of 400, since nginx takes any status but 2xx, 401
/// and 403 for a fault of its own.
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
                if answer.status() == StatusCode::BAD_REQUEST {
                    *answer.status_mut() = StatusCode::UNAUTHORIZED;
                }
                answer
            }
        }
    }

    async fn decide(&self, request: &Parts) -> Result<Verified, Refusal> {
        let original = request.headers.get_all("x-original-uri").iter();
        for uri in original {
            let query = uri.to_str().ok().and_then(|uri| uri.split_once('?')).map(|(_, query)| query);
            if query.is_some_and(has_token) {
                return Err(Refusal::TokenInUrl);
            }
        }
        self.layer.verify(request).await
    }
}

fn accepted(verified: &Verified) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let roles = verified.roles().collect::<Vec<_>>().join(" ");
    let scopes = verified.scopes().collect::<Vec<_>>().join(" ");
    let thumbprint = verified.thumbprint().map(|thumbprint| thumbprint.x5t_s256());
    for (name, value) in [
        ("x-certbound-client-id", verified.client_id()),
        ("x-certbound-tenant-id", verified.tenant_id()),
        ("x-certbound-object-id", verified.object_id()),
        ("x-certbound-subject", verified.subject()),
        ("x-certbound-roles", Some(roles.as_str()).filter(|roles| !roles.is_empty())),
        ("x-certbound-scopes", Some(scopes.as_str()).filter(|scopes| !scopes.is_empty())),
        ("x-certbound-certificate", thumbprint.as_deref()),
    ] {
        // A claim with characters that no header may have is left out: the resource must not see half of it.
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}
