//! Cloud Shell: Bearer tokens of the shell's own identity. The request is a form.

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::caller::has_once;
use super::hosted::answered;
use super::{Platform, Rejection, check_method, decode, query, reject};
use crate::answers::{is_form, json_response, nested_error_response};

/// Answers a request. Cloud Shell's refusals have an object in the member `error`.
pub(super) fn answer(platform: &Platform<'_>, request: &Request<Bytes>) -> Response<Bytes> {
    token(platform, request).map_or_else(
        |Rejection { status, error, description, .. }| nested_error_response(status, error, &description),
        |body| json_response(200, &body),
    )
}

fn token(platform: &Platform<'_>, request: &Request<Bytes>) -> Result<Value, Rejection> {
    platform.check_caller(request)?;
    check_method(request, &Method::POST)?;
    if !has_once(request, "metadata", "true") {
        return Err(reject(401, "unauthorized", "The header metadata must be 'true'."));
    }
    if !is_form(request) {
        return Err(reject(415, "unsupported_media_type", "The body must be a form."));
    }
    let (query, form) = (query(request)?, decode(request.body(), "body")?);
    platform.identity(&query, &[])?;
    let identity = platform.identity(&form, &[])?;
    let resource = form.value("resource");
    let body = answered(platform, identity, resource).map_err(|found| match found.error {
        "invalid_resource" => {
            let text =
                format!("Audience {} is not a supported MSI token audience.", resource.unwrap_or_default());
            reject(400, "AudienceNotSupported", text)
        }
        _ => found,
    });
    let mut body = body?;
    body["expires_in"] = json!((platform.world.lifetime(true) - 1).to_string());
    Ok(body)
}
