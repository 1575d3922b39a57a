//! Answers like Microsoft Graph's.

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::json;
use uuid::Uuid;

use super::{Caller, Rejection, ResourceServer, challenge};
use crate::answers::{json_response, timestamp};

pub(super) fn answer(
    server: &ResourceServer<'_>,
    request: &Request<Bytes>,
    outcome: Result<Caller, Rejection>,
) -> Response<Bytes> {
    match outcome {
        Ok(caller) => success(server, request, &caller),
        Err(Rejection::NoPermission) => {
            let message = "Insufficient privileges to complete the operation.";
            error(server, 403, "Authorization_RequestDenied", message)
        }
        Err(rejection) => {
            let mut response = error(server, 401, "InvalidAuthenticationToken", &message(rejection));
            challenge(
                &mut response,
                "Bearer realm=\"\", \
                 authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
                 client_id=\"00000003-0000-0000-c000-000000000000\"",
            );
            response
        }
    }
}

fn message(rejection: Rejection) -> String {
    match rejection {
        Rejection::NoCredentials => "Access token is empty.".to_owned(),
        Rejection::Malformed => "CompactToken parsing failed.".to_owned(),
        Rejection::InvalidToken(why) => format!("Access token validation failure: {why}."),
        Rejection::BoundUnderBearer => "Cnf claim not supported over Bearer protocol.".to_owned(),
        Rejection::UnboundUnderPop => {
            "MtlsCnfClaimMissing: the token is not bound to a certificate.".to_owned()
        }
        Rejection::MissingCertificate | Rejection::OptInMissing => {
            "MtlsMissingClientCertificate: the request has no client certificate.".to_owned()
        }
        Rejection::Mismatch | Rejection::CertificateDates => {
            "MtlsCnfClaimRequestDataValidationFailed: the client certificate is not the token's.".to_owned()
        }
        Rejection::BindingRequired => "A certificate-bound token is required.".to_owned(),
        Rejection::NoPermission => "Insufficient privileges to complete the operation.".to_owned(),
    }
}

fn success(server: &ResourceServer<'_>, request: &Request<Bytes>, caller: &Caller) -> Response<Bytes> {
    let path = request.uri().path();
    if request.method() != Method::GET {
        return error(server, 501, "NotImplemented", "This emulator answers GET only.");
    }
    let (version, collection) = match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some((version @ ("v1.0" | "beta"), collection @ ("applications" | "servicePrincipals"))) => {
            (version, collection)
        }
        _ => return error(server, 404, "Request_ResourceNotFound", "This emulator has no such collection."),
    };
    let value: Vec<_> = server
        .world
        .applications
        .iter()
        .filter(|application| application.id == caller.application)
        .map(|application| json!({ "appId": application.id, "id": caller.application }))
        .collect();
    json_response(
        200,
        &json!({
            "@odata.context": format!("https://{}/{version}/$metadata#{collection}", server.host),
            "value": value,
        }),
    )
}

fn error(server: &ResourceServer<'_>, status: u16, code: &str, message: &str) -> Response<Bytes> {
    let id = Uuid::new_v4().to_string();
    json_response(
        status,
        &json!({ "error": {
            "code": code,
            "message": message,
            "innerError": {
                "date": timestamp(server.now).trim_end_matches('Z').replace(' ', "T"),
                "request-id": id,
                "client-request-id": id,
            },
        }}),
    )
}
