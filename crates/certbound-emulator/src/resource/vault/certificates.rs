//! The operations on certificates: read. The world declares the certificates, and no request changes them. Each
//! certificate also has a key, and a secret that contains the certificate with its private key.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use certbound_core::time::UnixTime;
use serde_json::{Value, json};

use super::body::Properties;
use super::page::Page;
use super::refusal::{Object, VaultRefusal};
use super::secret::Secret;
use super::{FIRST_VERSION, attributes, created};
use crate::keys::ca::ClientIdentity;
use crate::resource::ResourceServer;
use crate::world::{VaultCertificate, VaultKeyKind};

/// The content type of a certificate's secret: key and chain in one PEM text.
const PEM: &str = "application/x-pem-file";
/// `id-kp-clientAuth` (RFC 5280, section 4.2.1.12).
const CLIENT_AUTHENTICATION: &str = "1.3.6.1.5.5.7.3.2";

pub(super) fn list(server: &ResourceServer<'_>, page: &Page<'_>) -> Result<Value, VaultRefusal> {
    let mut sorted: BTreeMap<String, Value> = BTreeMap::new();
    for (name, certificate) in &server.resource.certificates {
        sorted.insert(name.to_ascii_lowercase(), entry(server, name, certificate, None)?);
    }
    Ok(page.of(sorted.into_iter()))
}

pub(super) fn versions(
    server: &ResourceServer<'_>,
    name: &str,
    page: &Page<'_>,
) -> Result<Value, VaultRefusal> {
    let (name, certificate) = found(server, name, "")?;
    let entry = entry(server, name, certificate, Some(FIRST_VERSION))?;
    Ok(page.of(std::iter::once((FIRST_VERSION.to_owned(), entry))))
}

pub(super) fn get(server: &ResourceServer<'_>, name: &str, version: &str) -> Result<Value, VaultRefusal> {
    let (name, certificate) = found(server, name, version)?;
    let issued = issued(server, name, certificate)?;
    let (host, leaf) = (server.host, issued.leaf_der());
    Ok(json!({
        "id": format!("https://{host}/certificates/{name}/{FIRST_VERSION}"),
        "kid": format!("https://{host}/keys/{name}/{FIRST_VERSION}"),
        "sid": format!("https://{host}/secrets/{name}/{FIRST_VERSION}"),
        "x5t": x5t(leaf),
        "cer": STANDARD.encode(leaf),
        "attributes": attributes(server, Some(validity(server))),
        "tags": {},
        "policy": policy(server, name, certificate),
    }))
}

pub(super) fn get_policy(server: &ResourceServer<'_>, name: &str) -> Result<Value, VaultRefusal> {
    let (name, certificate) = found(server, name, "")?;
    Ok(policy(server, name, certificate))
}

/// Returns the certificate that the world declares under this name, with the world's spelling of the name.
pub(super) fn declared<'s>(
    server: &'s ResourceServer<'_>,
    name: &str,
) -> Option<(&'s str, &'s VaultCertificate)> {
    let mut all = server.resource.certificates.iter();
    all.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(name, it)| (name.as_str(), it))
}

/// Returns the secret of the certificate with this name, or `None` if the name is unknown.
pub(super) fn secret(server: &ResourceServer<'_>, name: &str) -> Result<Option<Secret>, VaultRefusal> {
    declared(server, name).map(|(name, it)| secret_of(server, name, it)).transpose()
}

/// Returns the secrets of all certificates.
pub(super) fn all_secrets(server: &ResourceServer<'_>) -> Result<Vec<Secret>, VaultRefusal> {
    server.resource.certificates.iter().map(|(name, it)| secret_of(server, name, it)).collect()
}

fn secret_of(
    server: &ResourceServer<'_>,
    name: &str,
    certificate: &VaultCertificate,
) -> Result<Secret, VaultRefusal> {
    let issued = issued(server, name, certificate)?;
    let (from, until) = validity(server);
    let properties = Properties {
        content_type: Some(PEM.to_owned()),
        nbf: Some(from.as_secs()),
        exp: Some(until.as_secs()),
        ..Properties::default()
    };
    Ok(Secret::of_certificate(name, &issued.bundle_pem(), properties, created(server)))
}

fn found<'s>(
    server: &'s ResourceServer<'_>,
    name: &str,
    version: &str,
) -> Result<(&'s str, &'s VaultCertificate), VaultRefusal> {
    declared(server, name)
        .filter(|_| version.is_empty() || version == FIRST_VERSION)
        .ok_or_else(|| VaultRefusal::not_found(Object::Certificate, name, version))
}

fn issued(
    server: &ResourceServer<'_>,
    name: &str,
    certificate: &VaultCertificate,
) -> Result<Arc<ClientIdentity>, VaultRefusal> {
    server
        .vault_keys
        .certificate(&server.resource.app_id, name, certificate)
        .map_err(|error| VaultRefusal::internal(error.to_string()))
}

/// Returns the validity of every certificate of the vault.
fn validity(server: &ResourceServer<'_>) -> (UnixTime, UnixTime) {
    let authority = server.vault_keys.authority();
    (authority.not_before, authority.not_after)
}

fn entry(
    server: &ResourceServer<'_>,
    name: &str,
    certificate: &VaultCertificate,
    version: Option<&str>,
) -> Result<Value, VaultRefusal> {
    let path = version.map_or_else(|| name.to_owned(), |version| format!("{name}/{version}"));
    Ok(json!({
        "id": format!("https://{}/certificates/{path}", server.host),
        "x5t": x5t(issued(server, name, certificate)?.leaf_der()),
        "attributes": attributes(server, Some(validity(server))),
        "subject": "",
        "tags": {},
    }))
}

fn policy(server: &ResourceServer<'_>, name: &str, certificate: &VaultCertificate) -> Value {
    let mut key = json!({ "exportable": true });
    match certificate.key {
        VaultKeyKind::Rsa2048 => {
            key["kty"] = json!("RSA");
            key["key_size"] = json!(2048);
        }
        VaultKeyKind::P256 => {
            key["kty"] = json!("EC");
            key["key_size"] = json!(256);
            key["crv"] = json!("P-256");
        }
    }
    key["reuse_key"] = json!(false);
    json!({
        "id": format!("https://{}/certificates/{name}/policy", server.host),
        "key_props": key,
        "secret_props": { "contentType": PEM },
        "x509_props": {
            "subject": format!("CN={}", certificate.common_name),
            "ekus": [CLIENT_AUTHENTICATION],
            "key_usage": ["digitalSignature"],
        },
        "lifetime_actions": [],
        "issuer": { "name": "Unknown" },
        "attributes": { "enabled": true, "created": created(server), "updated": created(server) },
    })
}

fn x5t(der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, der))
}
