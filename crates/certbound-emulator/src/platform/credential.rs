//! The instance metadata service, version 2: a certificate for the identity, over a key of the machine's.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::json;
use certbound_core::request::ReceivedForm;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use super::{No, Platform, csr, no};
use crate::fault::FaultResult;
use crate::machine_ca::{Issued, LIFETIME};
use crate::world::ManagedIdentity;

const VERSION: &str = "2.0";
/// An identity that no machine has.
const NOBODY: &str = "00000000-0000-0000-0000-00000000dead";

/// `/metadata/identity/getplatformmetadata`
pub(super) fn platform(platform: &Platform<'_>, query: &ReceivedForm) -> Result<Value, No> {
    let (identity, tenant) = selected(platform, query)?;
    let machine = &platform.world.machine;
    let mut unit = json!({ "vmId": machine.vm_id });
    if !machine.vmss_id.is_empty() {
        unit["vmssId"] = json!(machine.vmss_id);
    }
    Ok(json!({
        "cuId": unit,
        "clientId": identity.client_id,
        "tenantId": tenant,
        "attestationEndpoint": "https://certbound.attest.azure.net",
    }))
}

/// `/metadata/identity/issuecredential`
pub(super) fn issue(platform: &Platform<'_>, query: &ReceivedForm, body: &[u8]) -> Result<Value, No> {
    let (identity, tenant) = selected(platform, query)?;
    let bad = |text: String| no(400, "invalid_request", text);
    let members = json::parse_object(body).map_err(|why| bad(format!("The body cannot be read: {why}.")))?;
    let member = |name: &str| members.get(name).map(|value| value.as_str().unwrap_or_default());
    let request = member("csr").and_then(|text| STANDARD.decode(text).ok());
    let request = request.ok_or_else(|| bad("'csr' is not a certificate request in base64.".to_owned()))?;
    let public_key = csr::check(&request, &identity.client_id, tenant, platform.world).map_err(bad)?;
    let attestation_fault = match member("attestation_token") {
        None if platform.world.machine.attestation_required => {
            let text = "Attestation Token is missing / empty in the issue credential request";
            return Err(bad(text.to_owned()));
        }
        Some("") => {
            return Err(bad(
                "Attestation Token is missing / empty in the issue credential request".to_owned()
            ));
        }
        None => None,
        Some(token) => csr::attestation_fault(token, &public_key, platform),
    };
    let mut issued = Issued { client_id: identity.client_id.clone(), attestation_fault };
    let (mut public_key, mut until) = (public_key, platform.now.plus(LIFETIME));
    match platform.alteration {
        Some(FaultResult::ForeignKeyCertificate) => {
            let other = KeyPair::generate().map_err(|why| no(500, "server_error", why.to_string()))?;
            public_key = other.subject_public_key_info();
        }
        Some(FaultResult::ForeignIdentityCertificate) => issued.client_id = NOBODY.to_owned(),
        Some(FaultResult::ExpiredCertificate) => until = platform.now.minus(Duration::from_secs(1)),
        _ => {}
    }
    let certificate = platform.machines.issue(tenant, &public_key, until, platform.now, issued);
    let certificate =
        certificate.map_err(|why| bad(format!("No certificate can be issued for this key: {why}.")))?;
    Ok(json!({
        "client_id": identity.client_id,
        "tenant_id": tenant,
        "certificate": STANDARD.encode(certificate),
        "identity_type": if identity.resource_id.is_some() { "UserAssigned" } else { "SystemAssigned" },
        "mtls_authentication_endpoint": format!("https://{}.mtlsauth.microsoft.com", platform.world.machine.location),
    }))
}

fn selected<'p>(
    platform: &'p Platform<'_>,
    query: &ReceivedForm,
) -> Result<(&'p ManagedIdentity, &'p str), No> {
    if !platform.world.machine.issues_certificates {
        return Err(no(404, "not_found", "There is nothing at this path."));
    }
    platform.throttle.check(platform.world, platform.now)?;
    if query.value("cred-api-version") != Some(VERSION) {
        return Err(no(
            400,
            "invalid_request",
            "cred-api-version is invalid or was not specified in the request.",
        ));
    }
    let identity = platform.identity(query, &["mi_res_id"])?;
    let application = platform.world.application(&identity.client_id);
    let application = application.ok_or_else(|| no(400, "invalid_request", "Identity not found"))?;
    Ok((identity, &application.home_tenant))
}
