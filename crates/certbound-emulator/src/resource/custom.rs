//! Answers as RFC 6750 says, with the scheme `mtls_pop`: the orders of a small company.

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::json;

use super::{Caller, Rejection, ResourceServer, challenge};
use crate::answers::json_response;

pub(super) fn answer(
    server: &ResourceServer<'_>,
    request: &Request<Bytes>,
    outcome: Result<Caller, Rejection>,
) -> Response<Bytes> {
    match outcome {
        Ok(caller) => success(server, request, &caller),
        Err(rejection) => refuse(rejection),
    }
}

fn success(server: &ResourceServer<'_>, request: &Request<Bytes>, caller: &Caller) -> Response<Bytes> {
    let items = &server.resource.items;
    let path = request.uri().path();
    if request.method() != Method::GET {
        return json_response(405, &json!({ "error": "method_not_allowed" }));
    }
    let asked = path.trim_end_matches('/').rsplit_once('/').map_or("", |(_, last)| last);
    let body = match (path, items.get(asked)) {
        ("/" | "/orders", _) => json!(items),
        (_, Some(value)) => json!({ asked: value }),
        _ => return json_response(404, &json!({ "error": "not_found" })),
    };
    json_response(
        200,
        &json!({ "orders": body, "caller": caller.application, "certificate": caller.bound_to }),
    )
}

/// No error code when no credentials were offered (RFC 6750, section 3).
fn refuse(rejection: Rejection) -> Response<Bytes> {
    let (status, error, description) = match rejection {
        Rejection::NoCredentials => {
            let mut response = json_response(401, &json!({ "error": "unauthorized" }));
            challenge(&mut response, "mtls_pop");
            return response;
        }
        Rejection::Malformed => (400, "invalid_request", "the Authorization header is malformed".to_owned()),
        Rejection::InvalidToken(why) => (401, "invalid_token", format!("the token is refused: {why}")),
        Rejection::BoundUnderBearer => {
            (401, "invalid_token", "a certificate-bound token was sent under Bearer".to_owned())
        }
        Rejection::UnboundUnderPop | Rejection::BindingRequired => {
            (401, "invalid_token", "the token is not bound to a certificate".to_owned())
        }
        Rejection::MissingCertificate | Rejection::OptInMissing => {
            (401, "invalid_token", "the connection has no client certificate".to_owned())
        }
        Rejection::Mismatch => {
            (401, "invalid_token", "the client certificate is not the one the token is bound to".to_owned())
        }
        Rejection::CertificateDates => {
            (401, "invalid_token", "the client certificate is outside its validity".to_owned())
        }
        Rejection::NoPermission => (403, "insufficient_scope", "the application has no role here".to_owned()),
    };
    let mut response = json_response(status, &json!({ "error": error, "error_description": description }));
    challenge(&mut response, &format!("mtls_pop error=\"{error}\", error_description=\"{description}\""));
    response
}
