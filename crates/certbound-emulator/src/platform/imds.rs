//! The instance metadata service, version 1: plain tokens, and what the machine is.

use certbound_core::request::ReceivedForm;
use serde_json::{Value, json};

use super::{No, Platform, no};
use crate::issue::LIFETIME;

const TOKEN_VERSIONS: [&str; 4] = ["2018-02-01", "2019-08-01", "2021-01-01", "2021-12-13"];
const INSTANCE_VERSIONS: [&str; 3] = ["2020-06-01", "2021-02-01", "2021-12-13"];

/// `/metadata/identity/oauth2/token`
pub(super) fn token(platform: &Platform<'_>, query: &ReceivedForm) -> Result<Value, No> {
    platform.throttle.check(platform.world, platform.now)?;
    version(query, &TOKEN_VERSIONS)?;
    let resource = query.value("resource").filter(|resource| !resource.is_empty());
    let resource = resource
        .ok_or_else(|| no(400, "invalid_request", "Required query variable 'resource' is missing"))?;
    let identity = platform.identity(query, &["msi_res_id", "mi_res_id"])?;
    let token = platform.plain_token(identity, resource, Vec::new())?;
    let now = platform.now.as_secs();
    // Everything is a text here.
    Ok(json!({
        "access_token": token["access_token"],
        "client_id": identity.client_id,
        "expires_in": (LIFETIME - 1).to_string(),
        "expires_on": (now + LIFETIME).to_string(),
        "ext_expires_in": (LIFETIME - 1).to_string(),
        "not_before": now.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    }))
}

/// `/metadata/instance/compute`
pub(super) fn compute(platform: &Platform<'_>, query: &ReceivedForm) -> Result<Value, No> {
    version(query, &INSTANCE_VERSIONS)?;
    let machine = &platform.world.machine;
    Ok(json!({
        "location": machine.location,
        "name": "demo",
        "osType": "Linux",
        "resourceGroupName": "demo",
        "securityProfile": { "secureBootEnabled": "true", "securityType": "TrustedLaunch", "virtualTpmEnabled": "true" },
        "vmId": machine.vm_id,
    }))
}

fn version(query: &ReceivedForm, known: &[&str]) -> Result<(), No> {
    match query.value("api-version") {
        Some(version) if known.contains(&version) => Ok(()),
        _ => Err(no(
            400,
            "Bad request. api-version is invalid or was not specified in the request.",
            known.join(", "),
        )),
    }
}
