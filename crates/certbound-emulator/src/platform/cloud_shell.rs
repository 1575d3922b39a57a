//! Cloud Shell: Bearer tokens of the shell's own identity. The request is a form.

use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::caller::has_once;
use super::hosted::answered;
use super::{No, Platform, no};
use crate::answers::json_response;
use crate::issue::MACHINE_LIFETIME;

/// Answers a request. Cloud Shell's refusals have an error object inside of `error`.
pub(super) fn answer(platform: &Platform<'_>, request: &Request<Bytes>) -> Response<Bytes> {
    token(platform, request).map_or_else(
        |No { status, error, description, .. }| {
            json_response(status, &json!({ "error": { "code": error, "message": description } }))
        },
        |body| json_response(200, &body),
    )
}

fn token(platform: &Platform<'_>, request: &Request<Bytes>) -> Result<Value, No> {
    platform.check_caller(request)?;
    if request.method() != Method::POST {
        return Err(no(405, "method_not_allowed", "Send POST."));
    }
    if !has_once(request, "metadata", "true") {
        return Err(no(401, "unauthorized", "The header metadata is not what it must be."));
    }
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(no(415, "unsupported_media_type", "The body must be a form."));
    }
    let malformed =
        |why| no(400, "invalid_request", format!("The request's parameters are malformed: {why}."));
    let query = request.uri().query().unwrap_or_default();
    let query = ReceivedForm::decode(query.as_bytes()).map_err(malformed)?;
    let form = ReceivedForm::decode(request.body()).map_err(malformed)?;
    platform.identity(&query, &[])?;
    let identity = platform.identity(&form, &[])?;
    let resource = form.value("resource");
    let body = answered(platform, identity, resource).map_err(|found| match found.error {
        "invalid_resource" => {
            let text =
                format!("Audience {} is not a supported MSI token audience.", resource.unwrap_or_default());
            no(400, "AudienceNotSupported", text)
        }
        _ => found,
    });
    let mut body = body?;
    body["expires_in"] = json!((MACHINE_LIFETIME - 1).to_string());
    Ok(body)
}
