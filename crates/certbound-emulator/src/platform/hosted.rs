//! Platforms that have an endpoint of their own for plain tokens, and a secret: App Service, Machine Learning.

use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::caller::has_once;
use super::{No, Platform, malformed, no};
use crate::answers::json_response;
use crate::issue::MACHINE_LIFETIME;
use crate::world::ManagedIdentity;

/// What programs on these platforms find in `IDENTITY_HEADER` and `MSI_SECRET`: a secret of the platform's, public here.
pub const PLATFORM_SECRET: &str = "certbound-emulator-platform";

pub(super) fn app_service(platform: &Platform<'_>, request: &Request<Bytes>) -> Result<Response<Bytes>, No> {
    let query = checked(platform, request, "x-identity-header", "2019-08-01")?;
    let identity = platform.identity(&query, &["client_id", "object_id", "mi_res_id"])?;
    Ok(json_response(200, &answered(platform, identity, query.value("resource"))?))
}

/// Some clients leave the workspace's own identity unnamed.
pub(super) fn machine_learning(
    platform: &Platform<'_>,
    request: &Request<Bytes>,
) -> Result<Response<Bytes>, No> {
    let query = checked(platform, request, "secret", "2017-09-01")?;
    let identity = platform.identity(&query, &["clientid"])?;
    Ok(json_response(200, &answered(platform, identity, query.value("resource"))?))
}

/// The query of a GET of this version, by someone who has the platform's secret.
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

/// The body with a new token, as most platforms word it.
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
