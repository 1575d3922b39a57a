//! The operations on secrets.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use super::body::Body;
use super::certificates;
use super::page::Page;
use super::refusal::{Object, VaultRefusal};
use super::secret::{Deleted, Secret, Version};
use super::store::{MAX_VERSIONS, Vault};
use crate::resource::ResourceServer;

pub(super) fn list(server: &ResourceServer<'_>, page: &Page<'_>) -> Result<Value, VaultRefusal> {
    let mut entries: BTreeMap<String, Value> = BTreeMap::new();
    for secret in certificates::all_secrets(server)? {
        entries.insert(secret.name.to_ascii_lowercase(), secret.properties(server.host, None));
    }
    server.vaults.read(server, |vault| {
        let stored = vault.secrets.iter();
        entries.extend(stored.map(|(name, secret)| (name.clone(), secret.properties(server.host, None))));
    });
    Ok(page.of(entries.into_iter()))
}

pub(super) fn versions(
    server: &ResourceServer<'_>,
    name: &str,
    page: &Page<'_>,
) -> Result<Value, VaultRefusal> {
    with_secret(server, name, "", |secret| {
        let ids = secret.versions.keys();
        Ok(page.of(ids.map(|id| (id.clone(), secret.properties(server.host, Some(id))))))
    })
}

pub(super) fn get(server: &ResourceServer<'_>, name: &str, version: &str) -> Result<Value, VaultRefusal> {
    with_secret(server, name, version, |secret| {
        let id = secret.id(version);
        if secret.versions.get(id).is_some_and(|version| !version.enabled) {
            return Err(VaultRefusal::disabled());
        }
        secret.with_value(server.host, id).ok_or_else(|| not_found(name, version))
    })
}

pub(super) fn set(server: &ResourceServer<'_>, name: &str, body: &Bytes) -> Result<Value, VaultRefusal> {
    let body = Body::of(body)?;
    let version = Version::new(body.secret()?, body.properties()?, server.now.as_secs());
    let id = Uuid::new_v4().simple().to_string();
    let key = key_of_stored(server, name)?;
    server.vaults.change(server, |vault, has_room| {
        if let Some(deleted) = vault.deleted.get(&key) {
            return Err(VaultRefusal::deleted_but_recoverable(&deleted.secret.name));
        }
        if !has_room {
            return Err(VaultRefusal::full(&format!("{MAX_VERSIONS} versions of secrets")));
        }
        match vault.secrets.get_mut(&key) {
            Some(secret) => secret.add(&id, version),
            None => drop(vault.secrets.insert(key.clone(), Secret::with(name, &id, version))),
        }
        let secret = stored(vault, &key, name, "")?;
        secret.with_value(server.host, &id).ok_or_else(|| not_found(name, &id))
    })
}

pub(super) fn update(
    server: &ResourceServer<'_>,
    name: &str,
    version: &str,
    body: &Bytes,
) -> Result<Value, VaultRefusal> {
    let properties = Body::of(body)?.properties()?;
    let key = key_of_stored(server, name)?;
    server.vaults.change(server, |vault, _| {
        let secret = vault.secrets.get_mut(&key).ok_or_else(|| not_found(name, ""))?;
        let id = secret.id(version).to_owned();
        let found = secret.versions.get_mut(&id).ok_or_else(|| not_found(name, version))?;
        found.update(properties, server.now);
        Ok(secret.properties(server.host, Some(&id)))
    })
}

pub(super) fn delete(server: &ResourceServer<'_>, name: &str) -> Result<Value, VaultRefusal> {
    let key = key_of_stored(server, name)?;
    server.vaults.change(server, |vault, _| {
        let secret = vault.secrets.remove(&key).ok_or_else(|| not_found(name, ""))?;
        let deleted = Deleted::new(secret, server.now);
        let answer = deleted.properties(server.host, true);
        vault.deleted.insert(key, deleted);
        Ok(answer)
    })
}

pub(super) fn list_deleted(server: &ResourceServer<'_>, page: &Page<'_>) -> Result<Value, VaultRefusal> {
    server.vaults.read(server, |vault| {
        let deleted = vault.deleted.iter();
        Ok(page.of(deleted.map(|(name, secret)| (name.clone(), secret.properties(server.host, false)))))
    })
}

pub(super) fn get_deleted(server: &ResourceServer<'_>, name: &str) -> Result<Value, VaultRefusal> {
    server.vaults.read(server, |vault| {
        let deleted = vault.deleted.get(&name.to_ascii_lowercase());
        let deleted = deleted.ok_or_else(|| VaultRefusal::deleted_not_found(name))?;
        Ok(deleted.properties(server.host, true))
    })
}

pub(super) fn recover(server: &ResourceServer<'_>, name: &str) -> Result<Value, VaultRefusal> {
    let key = name.to_ascii_lowercase();
    server.vaults.change(server, |vault, _| {
        let deleted = vault.deleted.remove(&key).ok_or_else(|| VaultRefusal::deleted_not_found(name))?;
        let secret = deleted.secret;
        let answer = secret.properties(server.host, Some(secret.id("")));
        vault.secrets.insert(key, secret);
        Ok(answer)
    })
}

/// Removes a deleted secret. The result is `null`, because the answer has no body.
pub(super) fn purge(server: &ResourceServer<'_>, name: &str) -> Result<Value, VaultRefusal> {
    server.vaults.change(server, |vault, _| {
        let purged = vault.deleted.remove(&name.to_ascii_lowercase());
        purged.map(|_| Value::Null).ok_or_else(|| VaultRefusal::deleted_not_found(name))
    })
}

/// Calls `read` with a secret that is stored or belongs to a certificate. Only a refusal uses `version`.
fn with_secret(
    server: &ResourceServer<'_>,
    name: &str,
    version: &str,
    read: impl FnOnce(&Secret) -> Result<Value, VaultRefusal>,
) -> Result<Value, VaultRefusal> {
    match certificates::secret(server, name)? {
        Some(secret) => read(&secret),
        None => server
            .vaults
            .read(server, |vault| read(stored(vault, &name.to_ascii_lowercase(), name, version)?)),
    }
}

fn stored<'v>(vault: &'v Vault, key: &str, name: &str, version: &str) -> Result<&'v Secret, VaultRefusal> {
    vault.secrets.get(key).ok_or_else(|| not_found(name, version))
}

/// Returns the key of a secret in the store. Refuses the secret of a certificate, which no request can change.
fn key_of_stored(server: &ResourceServer<'_>, name: &str) -> Result<String, VaultRefusal> {
    match certificates::declared(server, name) {
        Some((name, _)) => Err(VaultRefusal::managed(name)),
        None => Ok(name.to_ascii_lowercase()),
    }
}

fn not_found(name: &str, version: &str) -> VaultRefusal {
    VaultRefusal::not_found(Object::Secret, name, version)
}
