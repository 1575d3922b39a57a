//! Answers like Azure Key Vault's. The certificate is taken from the first handshake, not by renegotiation.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use serde_json::json;

use super::{Caller, Rejection, ResourceServer, challenge};
use crate::answers::json_response;
use crate::issue::BACKDATED;

/// Without this header, exactly once and exactly `true`, a vault does not look at certificates.
pub(super) fn opted_in(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut values = headers.get_all("x-ms-tokenboundauth").iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.as_bytes() == b"true" => Ok(()),
        _ => Err(Rejection::OptInMissing),
    }
}

pub(super) fn answer(
    server: &ResourceServer<'_>,
    request: &Request<Bytes>,
    outcome: Result<Caller, Rejection>,
) -> Response<Bytes> {
    let mut response = match outcome {
        Ok(_) => success(server, request),
        Err(Rejection::NoPermission) => {
            error(403, "Forbidden", "AccessDenied: the caller has no permission.")
        }
        Err(rejection) => {
            let (code, message) = words(rejection);
            let mut response = error(401, code, &message);
            challenge(&mut response, &bearer_challenge(server));
            response
        }
    };
    for (name, value) in [("x-ms-keyvault-region", "emulated"), ("x-ms-keyvault-service-version", "1.9.0.0")]
    {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    response
}

fn words(rejection: Rejection) -> (&'static str, String) {
    let message = match rejection {
        Rejection::NoCredentials | Rejection::Malformed => {
            "AKV10000: Request is missing a Bearer or PoP token.".to_owned()
        }
        Rejection::InvalidToken(why) => format!("AKV10022: Invalid token: {why}."),
        Rejection::BoundUnderBearer => {
            let text = "S2S17001: a token with a confirmation claim was sent as Bearer.".to_owned();
            return ("AggregatedAuthenticationFailure", text);
        }
        Rejection::UnboundUnderPop => "AKV10023: the MTLS_POP token has no confirmation claim.".to_owned(),
        Rejection::BindingRequired => {
            let text = "This vault takes certificate-bound tokens only.".to_owned();
            return ("BearerAuthenticationDisabledForKeyVault", text);
        }
        Rejection::OptInMissing => {
            "A client certificate is required for the MTLS_POP token: send 'x-ms-tokenboundauth: true'."
                .to_owned()
        }
        Rejection::MissingCertificate => {
            "MissingClientCertificate: the request has no certificate.".to_owned()
        }
        Rejection::Mismatch | Rejection::CertificateDates | Rejection::NoPermission => {
            "The client certificate is not the one the MTLS_POP token is bound to.".to_owned()
        }
    };
    ("Unauthorized", message)
}

/// Clients refuse a challenge whose resource does not fit the vault's host.
fn bearer_challenge(server: &ResourceServer<'_>) -> String {
    let host = server.host.split_once('.').map_or(server.host, |(_, domain)| domain);
    let resource = format!("https://{host}");
    let tenant = server.world.tenants.first().map_or("", |tenant| tenant.id.as_str());
    format!("Bearer authorization=\"https://login.windows.net/{tenant}\", resource=\"{resource}\"")
}

fn success(server: &ResourceServer<'_>, request: &Request<Bytes>) -> Response<Bytes> {
    if request.method() != Method::GET {
        return error(501, "NotImplemented", "This emulator answers GET only.");
    }
    let name =
        request.uri().path().strip_prefix("/secrets/").map(|rest| rest.split('/').next().unwrap_or(rest));
    let Some((name, value)) = name.and_then(|name| server.resource.items.get_key_value(name)) else {
        return error(404, "SecretNotFound", "A secret with this name was not found in this key vault.");
    };
    let time = server.now.as_secs().saturating_sub(BACKDATED);
    json_response(
        200,
        &json!({
            "value": value,
            "id": format!("https://{}/secrets/{name}/00000000000000000000000000000001", server.host),
            "attributes": {
                "enabled": true,
                "created": time,
                "updated": time,
                "recoveryLevel": "Recoverable+Purgeable",
                "recoverableDays": 90,
            },
            "tags": {},
        }),
    )
}

fn error(status: u16, code: &str, message: &str) -> Response<Bytes> {
    json_response(status, &json!({ "error": { "code": code, "message": message } }))
}
