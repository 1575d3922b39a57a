//! Platforms whose endpoint issues Bearer tokens and requires a secret: App Service and Machine Learning.

use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::caller::has_once;
use super::{Platform, Rejection, check_method, query, reject};
use crate::answers::json_response;
use crate::world::ManagedIdentity;

/// The value of `IDENTITY_HEADER` and `MSI_SECRET` on these platforms and on Service Fabric. On a real platform it is
/// secret; in the emulator it is public.
pub const PLATFORM_SECRET: &str = "certbound-emulator-platform";

pub(super) fn app_service(
    platform: &Platform<'_>,
    request: &Request<Bytes>,
) -> Result<Response<Bytes>, Rejection> {
    let query = checked(platform, request, "x-identity-header", "2019-08-01")?;
    let identity = platform.identity(&query, &["client_id", "object_id", "mi_res_id"])?;
    Ok(json_response(200, &answered(platform, identity, query.value("resource"))?))
}

/// Answers as Machine Learning. A request that names no identity gets the token of the workspace's own identity.
pub(super) fn machine_learning(
    platform: &Platform<'_>,
    request: &Request<Bytes>,
) -> Result<Response<Bytes>, Rejection> {
    let query = checked(platform, request, "secret", "2017-09-01")?;
    let identity = platform.identity(&query, &["clientid"])?;
    Ok(json_response(200, &answered(platform, identity, query.value("resource"))?))
}

/// Checks the sender, the method, the platform's secret and the version of a request. Returns its query.
fn checked(
    platform: &Platform<'_>,
    request: &Request<Bytes>,
    header: &str,
    version: &str,
) -> Result<ReceivedForm, Rejection> {
    platform.check_caller(request)?;
    check_method(request, &Method::GET)?;
    if !has_once(request, header, PLATFORM_SECRET) {
        return Err(reject(
            401,
            "unauthorized",
            format!("The header {header} must have the value from the environment."),
        ));
    }
    let query = query(request)?;
    match query.value("api-version") {
        Some(found) if found == version => Ok(query),
        _ => Err(reject(400, "invalid_request", format!("api-version must be {version}."))),
    }
}

/// Returns the body with a new token, in the form of most platforms.
pub(super) fn answered(
    platform: &Platform<'_>,
    identity: &ManagedIdentity,
    resource: Option<&str>,
) -> Result<Value, Rejection> {
    let resource = resource.filter(|resource| !resource.is_empty());
    let resource = resource.ok_or_else(|| reject(400, "invalid_request", "The resource is missing."))?;
    let token = platform.plain_token(identity, resource, Vec::new())?;
    Ok(json!({
        "access_token": token["access_token"],
        "client_id": identity.client_id,
        "expires_on": (platform.now.as_secs() + platform.world.lifetime(true)).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    }))
}
