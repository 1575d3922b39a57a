//! External issuers that the emulator itself serves: their metadata, their keys, and a token endpoint without
//! authentication.

use bytes::Bytes;
use certbound_core::environment::Cloud;
use certbound_core::request::ReceivedForm;
use certbound_core::time::UnixTime;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::answers::{error_response, json_response};
use crate::keys::{IssuerKeys, SigningKeys};
use crate::world::{ExternalIssuer, World};

/// The lifetime of a token, in seconds. Tokens of build services have about the same lifetime.
const LIFETIME: u64 = 600;
/// The claims that only the issuer may set. A request must not contain them.
const ITS_OWN: [&str; 5] = ["iss", "iat", "nbf", "exp", "jti"];

/// A host of served issuers, with the context of one request. Several issuers may share a host, each with its own path.
pub(crate) struct LocalIssuers<'e> {
    pub(crate) world: &'e World,
    pub(crate) keys: &'e IssuerKeys,
    pub(crate) host: &'e str,
    pub(crate) now: UnixTime,
}

impl LocalIssuers<'_> {
    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        let below = |suffix: &str| {
            let base = format!("https://{}{}", self.host, path.strip_suffix(suffix)?);
            let issuer = self.world.external_issuers.iter().find(|it| it.served && it.base() == base)?;
            Some((issuer, self.keys.get(&issuer.issuer)?))
        };
        if let Some((issuer, _)) = below("/.well-known/openid-configuration") {
            return only(Method::GET, request, || json_response(200, &metadata(issuer)));
        }
        if let Some((issuer, keys)) = below("/keys") {
            return only(Method::GET, request, || json_response(200, &keys.jwks(Some(&issuer.issuer))));
        }
        match below("/token") {
            Some((issuer, keys)) => only(Method::POST, request, || self.token(issuer, keys, request.body())),
            None => refuse(
                404,
                "this issuer has no endpoint at this path: use /.well-known/openid-configuration, /keys or /token",
            ),
        }
    }

    /// Returns a token with the claims of the form.
    fn token(&self, issuer: &ExternalIssuer, keys: &SigningKeys, body: &[u8]) -> Response<Bytes> {
        let form = match ReceivedForm::decode(body) {
            Ok(form) => form,
            Err(error) => return refuse(400, &format!("the body is malformed: {error}")),
        };
        if let Some((name, _)) = form.iter().find(|(name, _)| ITS_OWN.contains(name)) {
            return refuse(400, &format!("the issuer sets '{name}' itself: remove the parameter"));
        }
        if form.value("sub").is_none() {
            return refuse(400, "the parameter 'sub' is missing: send the subject of the token");
        }
        let now = self.now.as_secs();
        let mut claims = Map::from_iter([
            ("iss".to_owned(), json!(issuer.issuer)),
            ("aud".to_owned(), json!(Cloud::Public.exchange_uri())),
            ("jti".to_owned(), json!(Uuid::new_v4().to_string())),
            ("iat".to_owned(), json!(now)),
            ("nbf".to_owned(), json!(now)),
            ("exp".to_owned(), json!(now.saturating_add(LIFETIME))),
        ]);
        claims.extend(form.iter().map(|(name, value)| (name.to_owned(), json!(value))));
        let signed = keys.current().and_then(|key| {
            let header = [("typ", "JWT"), ("alg", "RS256"), ("kid", key.kid())];
            key.sign(
                &header.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect(),
                &claims,
            )
        });
        let Some(token) = signed else { return refuse(500, "the token could not be signed") };
        let mut response = Response::new(Bytes::from(token.expose().to_owned()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jwt"));
        response
    }
}

fn metadata(issuer: &ExternalIssuer) -> Value {
    json!({
        "issuer": issuer.issuer,
        "jwks_uri": format!("{}/keys", issuer.base()),
        "token_endpoint": format!("{}/token", issuer.base()),
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
    })
}

fn only(
    method: Method,
    request: &Request<Bytes>,
    answer: impl FnOnce() -> Response<Bytes>,
) -> Response<Bytes> {
    if *request.method() == method {
        answer()
    } else {
        refuse(405, &format!("this path accepts {method} only"))
    }
}

fn refuse(status: u16, text: &str) -> Response<Bytes> {
    error_response(status, "invalid_request", text)
}
