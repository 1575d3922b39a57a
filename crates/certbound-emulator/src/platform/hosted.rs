//! Platforms that have an endpoint of their own for plain tokens: App Service, Machine Learning, Cloud Shell.

use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use http::{Method, Request};
use serde_json::{Value, json};

use super::{No, Platform, no};
use crate::issue::LIFETIME;
use crate::world::ManagedIdentity;

/// What programs on these platforms find in `IDENTITY_HEADER` and `MSI_SECRET`: a secret of the platform's, public here.
pub const PLATFORM_SECRET: &str = "certbound-emulator-platform";

/// The path of App Service's endpoint.
pub const APP_SERVICE: &str = "/app-service/token";
/// The path of Machine Learning's endpoint.
pub const MACHINE_LEARNING: &str = "/ml/token";
/// The path of Cloud Shell's endpoint.
pub const CLOUD_SHELL: &str = "/cloud-shell/token";

/// Answers at one of the paths above; nothing for any other.
pub(super) fn answer(
    platform: &Platform<'_>,
    request: &Request<Bytes>,
    query: &ReceivedForm,
) -> Option<Result<Value, No>> {
    let path = request.uri().path();
    match path.strip_suffix('/').unwrap_or(path) {
        APP_SERVICE => Some(app_service(platform, request, query)),
        MACHINE_LEARNING => Some(machine_learning(platform, request, query)),
        CLOUD_SHELL => Some(cloud_shell(platform, request)),
        _ => None,
    }
}

fn app_service(platform: &Platform<'_>, request: &Request<Bytes>, query: &ReceivedForm) -> Result<Value, No> {
    check(request, &Method::GET, "x-identity-header", PLATFORM_SECRET)?;
    version(query, "2019-08-01")?;
    let identity = platform.identity(query, &["mi_res_id"])?;
    answered(platform, identity, query.value("resource"))
}

fn machine_learning(
    platform: &Platform<'_>,
    request: &Request<Bytes>,
    query: &ReceivedForm,
) -> Result<Value, No> {
    check(request, &Method::GET, "secret", PLATFORM_SECRET)?;
    version(query, "2017-09-01")?;
    let id = query.value("clientid");
    // Some clients leave the workspace's own identity unnamed.
    let named = |identity: &&ManagedIdentity| match id {
        Some(id) => identity.client_id.eq_ignore_ascii_case(id),
        None => identity.resource_id.is_none(),
    };
    let identity = platform.world.managed_identities.iter().find(named);
    let identity = identity.ok_or_else(|| no(400, "invalid_request", "Identity not found"))?;
    answered(platform, identity, query.value("resource"))
}

fn cloud_shell(platform: &Platform<'_>, request: &Request<Bytes>) -> Result<Value, No> {
    check(request, &Method::POST, "metadata", "true")?;
    let form = ReceivedForm::decode(request.body())
        .map_err(|why| no(400, "invalid_request", format!("The body is malformed: {why}.")))?;
    let own = platform.world.managed_identities.iter().find(|identity| identity.resource_id.is_none());
    let identity = own.ok_or_else(|| no(400, "invalid_request", "Identity not found"))?;
    answered(platform, identity, form.value("resource"))
}

fn check(request: &Request<Bytes>, method: &Method, header: &str, value: &str) -> Result<(), No> {
    if request.method() != method {
        return Err(no(405, "method_not_allowed", format!("Send {method}.")));
    }
    let mut values = request.headers().get_all(header).iter();
    let right = values.next().is_some_and(|found| found == value);
    if right && values.next().is_none() {
        return Ok(());
    }
    Err(no(401, "unauthorized", format!("The header {header} is not what it must be.")))
}

fn version(query: &ReceivedForm, known: &str) -> Result<(), No> {
    match query.value("api-version") {
        Some(version) if version == known => Ok(()),
        _ => Err(no(400, "invalid_request", format!("api-version must be {known}."))),
    }
}

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
        "expires_on": (platform.now.as_secs() + LIFETIME).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    }))
}
