//! The instance metadata service, version 2: it issues a certificate for an identity and a key of the machine.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::certificate::Thumbprint;
use certbound_core::json;
use certbound_core::request::ReceivedForm;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use super::{Platform, Rejection, check_version, csr, reject};
use crate::fault::FaultResult;
use crate::keys::ca::BACKDATED;
use crate::keys::machine_ca::{Issued, LIFETIME};
use crate::paths::ATTESTATION_SERVICE;
use crate::world::ManagedIdentity;
use crate::world::hosts::mutual_tls_host;

/// An id that neither an identity nor a tenant has.
const NOBODY: &str = "00000000-0000-0000-0000-00000000dead";

/// `/metadata/identity/getplatformmetadata`
pub(super) fn platform(platform: &Platform<'_>, query: &ReceivedForm) -> Result<Value, Rejection> {
    let (identity, tenant) = selected(platform, query)?;
    Ok(json!({
        "cuId": csr::unit_of(platform.world),
        "clientId": identity.client_id,
        "tenantId": tenant,
        "attestationEndpoint": ATTESTATION_SERVICE,
    }))
}

/// `/metadata/identity/issuecredential`
pub(super) fn issue(platform: &Platform<'_>, query: &ReceivedForm, body: &[u8]) -> Result<Value, Rejection> {
    let (identity, tenant) = selected(platform, query)?;
    let bad = |text: String| reject(400, "invalid_request", text);
    let members = json::parse_object(body).map_err(|why| bad(format!("The body cannot be read: {why}.")))?;
    let member = |name: &str| members.get(name).map(|value| value.as_str().unwrap_or_default());
    let request = member("csr").and_then(|text| STANDARD.decode(text).ok());
    let request = request.ok_or_else(|| bad("'csr' is not a certificate request in base64.".to_owned()))?;
    let public_key = csr::check(&request, &identity.client_id, tenant, platform.world).map_err(bad)?;
    let required = platform.world.machine.attestation_required;
    let attestation_fault = match member("attestation_token") {
        None if !required => None,
        None | Some("") => {
            let text = "Attestation Token is missing / empty in the issue credential request";
            return Err(bad(text.to_owned()));
        }
        Some(token) => csr::attestation_fault(token, &public_key, platform),
    };
    // If the machine keeps certificates, a request without `bypass_cache=true` gets the same certificate for the same
    // key again.
    let key_hash = Thumbprint::of_der(&public_key).x5t_s256();
    let names = (identity.client_id.as_str(), key_hash.as_str());
    let again = platform.world.machine.keeps_certificates && query.value("bypass_cache") != Some("true");
    let spoilt = platform.fault.is_some_and(FaultResult::is_of_certificate);
    let cached = platform.memory.certificates.get(names, platform.now).filter(|_| again && !spoilt);
    let certificate = match cached {
        Some(certificate) => certificate,
        None => {
            let issued = Issued { client_id: identity.client_id.clone(), attestation_fault };
            let certificate = certificate(platform, tenant, public_key, issued)?;
            if !spoilt {
                // Clients renew a certificate at half of its lifetime, and must then get a new certificate.
                let until = platform.now.plus(LIFETIME / 2);
                platform.memory.certificates.put(names, platform.now, until, certificate.clone());
            }
            certificate
        }
    };
    let machine = &platform.world.machine;
    Ok(json!({
        "client_id": identity.client_id,
        "tenant_id": tenant,
        "certificate": STANDARD.encode(certificate),
        "identity_type": if identity.resource_id.is_some() { "UserAssigned" } else { "SystemAssigned" },
        "mtls_authentication_endpoint": format!("https://{}.{}", machine.location, mutual_tls_host(machine.cloud)),
    }))
}

/// Issues a new certificate (DER). A fault can make the certificate wrong.
fn certificate(
    platform: &Platform<'_>,
    mut tenant: &str,
    mut public_key: Vec<u8>,
    mut issued: Issued,
) -> Result<Vec<u8>, Rejection> {
    let now = platform.now;
    let (mut from, mut until) = (now.minus(BACKDATED), now.plus(LIFETIME));
    match platform.fault {
        Some(FaultResult::ForeignKeyCertificate) => {
            let other = KeyPair::generate().map_err(|why| reject(500, "server_error", why.to_string()))?;
            public_key = other.subject_public_key_info();
        }
        Some(FaultResult::ForeignIdentityCertificate) => issued.client_id = NOBODY.to_owned(),
        Some(FaultResult::ExpiredCertificate) => until = now.minus(Duration::from_secs(1)),
        Some(FaultResult::NotYetValidCertificate) => from = now.plus(BACKDATED),
        Some(FaultResult::ForeignTenantCertificate) => tenant = NOBODY,
        Some(FaultResult::CertificateLifetime { seconds }) => {
            until = now.plus(Duration::from_secs(*seconds));
        }
        _ => {}
    }
    let certificate = platform.machines.issue(tenant, &public_key, (from, until), issued);
    certificate.map_err(|why| {
        reject(400, "invalid_request", format!("No certificate can be issued for this key: {why}."))
    })
}

fn selected<'p>(
    platform: &'p Platform<'_>,
    query: &ReceivedForm,
) -> Result<(&'p ManagedIdentity, &'p str), Rejection> {
    check_version(query, "cred-api-version", &["2.0"])?;
    let identity = platform.identity(query, &["client_id", "object_id", "mi_res_id"])?;
    let application = platform.world.application(&identity.client_id);
    let application = application.ok_or_else(|| reject(400, "invalid_request", "Identity not found"))?;
    Ok((identity, &application.home_tenant))
}
