//! The operations on keys: read, sign and verify. The world declares the keys, and no request changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::body::Body;
use super::page::Page;
use super::refusal::{Object, VaultRefusal};
use super::{FIRST_VERSION, attributes};
use crate::keys::vault::{Algorithm, PublicParts, VaultKey};
use crate::resource::ResourceServer;
use crate::world::VaultKeyKind;

/// The length of a SHA-256 digest, in bytes.
const DIGEST: usize = 32;

/// A key that the world declares.
struct Declared<'w> {
    name: &'w str,
    kind: VaultKeyKind,
    /// Whether the key belongs to the certificate of the same name.
    managed: bool,
}

pub(super) fn list(server: &ResourceServer<'_>, page: &Page<'_>) -> Result<Value, VaultRefusal> {
    let all = declared(server).map(|key| (key.name.to_ascii_lowercase(), key.entry(server, None)));
    let sorted: BTreeMap<String, Value> = all.collect();
    Ok(page.of(sorted.into_iter()))
}

pub(super) fn versions(
    server: &ResourceServer<'_>,
    name: &str,
    page: &Page<'_>,
) -> Result<Value, VaultRefusal> {
    let key = found(server, name, "")?;
    let entry = key.entry(server, Some(FIRST_VERSION));
    Ok(page.of(std::iter::once((FIRST_VERSION.to_owned(), entry))))
}

pub(super) fn get(server: &ResourceServer<'_>, name: &str, version: &str) -> Result<Value, VaultRefusal> {
    let declared = found(server, name, version)?;
    let key = material(server, &declared)?;
    let mut jwk = json!({ "kid": declared.id(server) });
    let encoded = |part: &[u8]| json!(URL_SAFE_NO_PAD.encode(part));
    let key_ops = json!(["sign", "verify"]);
    match key.public() {
        PublicParts::Rsa { n, e } => {
            jwk["kty"] = json!("RSA");
            jwk["key_ops"] = key_ops;
            jwk["n"] = encoded(n);
            jwk["e"] = encoded(e);
        }
        PublicParts::P256 { x, y } => {
            jwk["kty"] = json!("EC");
            jwk["key_ops"] = key_ops;
            jwk["crv"] = json!("P-256");
            jwk["x"] = encoded(x);
            jwk["y"] = encoded(y);
        }
    }
    let mut attributes = attributes(server, None);
    attributes["exportable"] = json!(declared.managed);
    let mut answer = json!({ "key": jwk, "attributes": attributes, "tags": {} });
    if declared.managed {
        answer["managed"] = json!(true);
    }
    Ok(answer)
}

pub(super) fn sign(
    server: &ResourceServer<'_>,
    name: &str,
    version: &str,
    body: &Bytes,
) -> Result<Value, VaultRefusal> {
    let Asked { key, body, algorithm } = Asked::of(server, name, version, body)?;
    let digest = digest(&body, "value", algorithm)?;
    let signature = material(server, &key)?
        .sign(algorithm, &digest)
        .ok_or_else(|| VaultRefusal::internal("The key could not sign."))?;
    Ok(json!({ "kid": key.id(server), "value": URL_SAFE_NO_PAD.encode(signature) }))
}

pub(super) fn verify(
    server: &ResourceServer<'_>,
    name: &str,
    version: &str,
    body: &Bytes,
) -> Result<Value, VaultRefusal> {
    let Asked { key, body, algorithm } = Asked::of(server, name, version, body)?;
    let digest = digest(&body, "digest", algorithm)?;
    let signature = decoded(&body, "value")?;
    let valid = material(server, &key)?.verify(algorithm, &digest, &signature);
    Ok(json!({ "value": valid.unwrap_or(false) }))
}

/// A request to sign or to verify: its key, its body, and an algorithm that fits the key.
struct Asked<'s> {
    key: Declared<'s>,
    body: Body,
    algorithm: Algorithm,
}

impl<'s> Asked<'s> {
    fn of(
        server: &'s ResourceServer<'_>,
        name: &str,
        version: &str,
        body: &Bytes,
    ) -> Result<Self, VaultRefusal> {
        let key = found(server, name, version)?;
        let body = Body::of(body)?;
        let algorithm = algorithm(&body, &key, server)?;
        Ok(Self { key, body, algorithm })
    }
}

impl Declared<'_> {
    /// Returns the key's address, with its version.
    fn id(&self, server: &ResourceServer<'_>) -> String {
        format!("https://{}/keys/{}/{FIRST_VERSION}", server.host, self.name)
    }

    /// Returns the entry in a list of keys, or in a list of versions.
    fn entry(&self, server: &ResourceServer<'_>, version: Option<&str>) -> Value {
        let path = version.map_or_else(|| self.name.to_owned(), |version| format!("{}/{version}", self.name));
        let mut entry = json!({
            "kid": format!("https://{}/keys/{path}", server.host),
            "attributes": attributes(server, None),
            "tags": {},
        });
        if self.managed {
            entry["managed"] = json!(true);
        }
        entry
    }
}

fn declared<'s>(server: &'s ResourceServer<'_>) -> impl Iterator<Item = Declared<'s>> {
    let keys = server.resource.keys.iter().map(|(name, kind)| Declared { name, kind: *kind, managed: false });
    let certificates = server.resource.certificates.iter();
    keys.chain(certificates.map(|(name, it)| Declared { name, kind: it.key, managed: true }))
}

fn found<'s>(
    server: &'s ResourceServer<'_>,
    name: &str,
    version: &str,
) -> Result<Declared<'s>, VaultRefusal> {
    let key = declared(server).find(|key| key.name.eq_ignore_ascii_case(name));
    key.filter(|_| version.is_empty() || version == FIRST_VERSION)
        .ok_or_else(|| VaultRefusal::not_found(Object::Key, name, version))
}

fn material(server: &ResourceServer<'_>, key: &Declared<'_>) -> Result<Arc<VaultKey>, VaultRefusal> {
    server
        .vault_keys
        .key(&server.resource.app_id, key.name, key.kind)
        .map_err(|error| VaultRefusal::internal(error.to_string()))
}

/// Returns the algorithm of a request. Refuses an algorithm that does not fit the key.
fn algorithm(
    body: &Body,
    key: &Declared<'_>,
    server: &ResourceServer<'_>,
) -> Result<Algorithm, VaultRefusal> {
    let name = body.text("alg")?;
    let algorithm: Algorithm = name.parse().map_err(|_| {
        VaultRefusal::not_implemented(
            "This emulator signs and verifies with the algorithms RS256, PS256 and ES256 only.",
        )
    })?;
    let (own, other) = match (key.kind, algorithm) {
        (VaultKeyKind::Rsa2048, Algorithm::Es256) => ("RSA", "EC"),
        (VaultKeyKind::P256, Algorithm::Rs256 | Algorithm::Ps256) => ("EC", "RSA"),
        _ => return Ok(algorithm),
    };
    Err(VaultRefusal::bad_parameter(format!(
        "Key and signing algorithm are incompatible. Key {} is of type '{own}', and algorithm '{name}' can only be used \
         with key of type '{other}' or '{other}-HSM'.",
        key.id(server)
    )))
}

fn digest(body: &Body, name: &str, algorithm: Algorithm) -> Result<Vec<u8>, VaultRefusal> {
    let digest = decoded(body, name)?;
    if digest.len() == DIGEST {
        return Ok(digest);
    }
    let (length, algorithm): (usize, &str) = (digest.len(), algorithm.into());
    Err(VaultRefusal::bad_parameter(format!(
        "Invalid length of '{name}': {length} bytes. {algorithm} requires {DIGEST} bytes, encoded with base64url."
    )))
}

/// Returns the bytes of a text in base64url. Padding is ignored.
fn decoded(body: &Body, name: &str) -> Result<Vec<u8>, VaultRefusal> {
    let text = body.text(name)?.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).map_err(|_| VaultRefusal::invalid_property(name))
}
