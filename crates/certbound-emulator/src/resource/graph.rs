//! Answers in the form of Microsoft Graph.

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::json;
use uuid::Uuid;

use super::{Caller, ResourceServer};
use crate::answers::{date, json_response};

pub(super) fn success(
    server: &ResourceServer<'_>,
    request: &Request<Bytes>,
    caller: &Caller,
) -> Response<Bytes> {
    let path = request.uri().path();
    if request.method() != Method::GET {
        return error(server, 501, "NotImplemented", "This emulator accepts GET only.");
    }
    let (version, collection) = match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some((version @ ("v1.0" | "beta"), collection @ ("applications" | "servicePrincipals"))) => {
            (version, collection)
        }
        _ => return error(server, 404, "Request_ResourceNotFound", "There is no collection at this path."),
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

pub(super) fn error(server: &ResourceServer<'_>, status: u16, code: &str, message: &str) -> Response<Bytes> {
    let id = Uuid::new_v4().to_string();
    json_response(
        status,
        &json!({ "error": {
            "code": code,
            "message": message,
            "innerError": {
                "date": date(server.now).trim_end_matches('Z'),
                "request-id": id,
                "client-request-id": id,
            },
        }}),
    )
}
