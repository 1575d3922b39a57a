//! Platforms whose endpoint issues Bearer tokens and requires a secret: App Service and Machine Learning.

use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::caller::has_once;
use super::{No, Platform, malformed, no};
use crate::answers::json_response;
use crate::issue::MACHINE_LIFETIME;
use crate::world::ManagedIdentity;

/// The value of `IDENTITY_HEADER` and `MSI_SECRET` on these platforms. On a real platform it is secret; here it is
/// public.
pub const PLATFORM_SECRET: &str = "certbound-emulator-platform";

pub(super) fn app_service(platform: &Platform<'_>, request: &Request<Bytes>) -> Result<Response<Bytes>, No> {
    let query = checked(platform, request, "x-identity-header", "2019-08-01")?;
    let identity = platform.identity(&query, &["client_id", "object_id", "mi_res_id"])?;
    Ok(json_response(200, &answered(platform, identity, query.value("resource"))?))
}

/// Answers as Machine Learning. Some clients do not name the workspace's own identity.
pub(super) fn machine_learning(
    platform: &Platform<'_>,
    request: &Request<Bytes>,
) -> Result<Response<Bytes>, No> {
    let query = checked(platform, request, "secret", "2017-09-01")?;
    let identity = platform.identity(&query, &["clientid"])?;
    Ok(json_response(200, &answered(platform, identity, query.value("resource"))?))
}

/// Checks the method, the platform's secret and the version of a request. Returns its query.
fn checked(
    platform: &Platform<'_>,
    request: &Request<Bytes>,
    header: &str,
    version: &str,
) -> Result<ReceivedForm, No> {
    platform.check_caller(request)?;
    if request.method() != Method::GET {
        return Err(no(405, "method_not_allowed", "Send GET."));
    }
    if !has_once(request, header, PLATFORM_SECRET) {
        return Err(no(401, "unauthorized", format!("The header {header} is not what it must be.")));
    }
    let query = request.uri().query().unwrap_or_default();
    let query = ReceivedForm::decode(query.as_bytes()).map_err(|why| malformed(&why))?;
    match query.value("api-version") {
        Some(found) if found == version => Ok(query),
        _ => Err(no(400, "invalid_request", format!("api-version must be {version}."))),
    }
}

/// Returns the body with a new token, in the form of most platforms.
pub(super) fn answered(
    platform: &Platform<'_>,
    identity: &ManagedIdentity,
    resource: Option<&str>,
) -> Result<Value, No> {
    let resource = resource.filter(|resource| !resource.is_empty());
    let resource = resource.ok_or_else(|| no(400, "invalid_request", "The resource is missing."))?;
    let token = platform.plain_token(identity, resource, Vec::new())?;
    Ok(json!({
        "access_token": token["access_token"],
        "client_id": identity.client_id,
        "expires_on": (platform.now.as_secs() + MACHINE_LIFETIME).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    }))
}
