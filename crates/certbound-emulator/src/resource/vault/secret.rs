//! A secret with its versions, and the JSON of its answers.

use std::collections::BTreeMap;

use certbound_core::secret::Secret as SecretText;
use certbound_core::time::UnixTime;
use serde_json::{Value, json};

use super::body::Properties;
use super::{FIRST_VERSION, RECOVERABLE_DAYS};

/// The recovery level of every object. A deleted object can be recovered or purged.
pub(super) const RECOVERY_LEVEL: &str = "Recoverable+Purgeable";

/// A secret.
#[derive(Debug)]
pub(super) struct Secret {
    /// The name as it was first written. Names that differ only in case are the same.
    pub(super) name: String,
    /// The versions by their ids. The map is never empty.
    pub(super) versions: BTreeMap<String, Version>,
    /// The id of the current version.
    current: String,
    /// Whether the secret belongs to the certificate of the same name.
    managed: bool,
}

/// A version of a secret.
#[derive(Debug)]
pub(super) struct Version {
    value: SecretText,
    content_type: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    pub(super) enabled: bool,
    nbf: Option<u64>,
    exp: Option<u64>,
    created: u64,
    updated: u64,
}

impl Version {
    pub(super) fn new(value: &str, properties: Properties, created: u64) -> Self {
        let Properties { content_type, enabled, nbf, exp, tags } = properties;
        let enabled = enabled.unwrap_or(true);
        let value = SecretText::new(value);
        Self { value, content_type, tags, enabled, nbf, exp, created, updated: created }
    }

    /// Replaces the properties that are present.
    pub(super) fn update(&mut self, properties: Properties, now: UnixTime) {
        let Properties { content_type, enabled, nbf, exp, tags } = properties;
        self.content_type = content_type.or_else(|| self.content_type.take());
        self.tags = tags.or_else(|| self.tags.take());
        self.enabled = enabled.unwrap_or(self.enabled);
        self.nbf = nbf.or(self.nbf);
        self.exp = exp.or(self.exp);
        self.updated = now.as_secs();
    }

    fn attributes(&self) -> Value {
        let mut attributes = json!({ "enabled": self.enabled });
        for (name, time) in [("nbf", self.nbf), ("exp", self.exp)] {
            if let Some(time) = time {
                attributes[name] = json!(time);
            }
        }
        attributes["created"] = json!(self.created);
        attributes["updated"] = json!(self.updated);
        attributes["recoveryLevel"] = json!(RECOVERY_LEVEL);
        attributes["recoverableDays"] = json!(RECOVERABLE_DAYS);
        attributes
    }
}

impl Secret {
    /// Returns a secret with one version, which the world declares.
    pub(super) fn declared(name: &str, value: &str, created: u64) -> Self {
        let version = Version::new(value, Properties::default(), created);
        // Clients of the emulator rely on the empty tags of a secret that the world declares.
        Self::with(name, FIRST_VERSION, Version { tags: Some(BTreeMap::new()), ..version })
    }

    /// Returns the secret of a certificate. `properties` has the validity of the certificate.
    pub(super) fn of_certificate(name: &str, pem: &str, properties: Properties, created: u64) -> Self {
        Self { managed: true, ..Self::with(name, FIRST_VERSION, Version::new(pem, properties, created)) }
    }

    pub(super) fn with(name: &str, id: &str, version: Version) -> Self {
        Self {
            name: name.to_owned(),
            versions: BTreeMap::from([(id.to_owned(), version)]),
            current: id.to_owned(),
            managed: false,
        }
    }

    /// Makes `version` the current version. Earlier versions remain.
    pub(super) fn add(&mut self, id: &str, version: Version) {
        self.versions.insert(id.to_owned(), version);
        self.current = id.to_owned();
    }

    /// Returns the id of the version that a request names. An empty text names the current version.
    pub(super) fn id<'s>(&'s self, version: &'s str) -> &'s str {
        if version.is_empty() { &self.current } else { version }
    }

    /// Returns the answer with a version and its value, or `None` if the version does not exist.
    pub(super) fn with_value(&self, host: &str, id: &str) -> Option<Value> {
        let mut answer = json!({ "value": self.versions.get(id)?.value.expose() });
        self.describe(&mut answer, host, Some(id));
        Some(answer)
    }

    /// Returns the properties of a version, or those of the current version if `id` is `None`. The address in the
    /// answer then has no version.
    pub(super) fn properties(&self, host: &str, id: Option<&str>) -> Value {
        let mut answer = json!({});
        self.describe(&mut answer, host, id);
        answer
    }

    /// Adds the properties of a version to an answer.
    fn describe(&self, answer: &mut Value, host: &str, id: Option<&str>) {
        let Some(version) = self.versions.get(id.unwrap_or(&self.current)) else { return };
        if let Some(content_type) = &version.content_type {
            answer["contentType"] = json!(content_type);
        }
        let name = &self.name;
        let path = id.map_or_else(|| name.clone(), |id| format!("{name}/{id}"));
        answer["id"] = json!(format!("https://{host}/secrets/{path}"));
        if self.managed {
            answer["managed"] = json!(true);
            if let Some(id) = id {
                answer["kid"] = json!(format!("https://{host}/keys/{name}/{id}"));
            }
        }
        answer["attributes"] = version.attributes();
        if let Some(tags) = &version.tags {
            answer["tags"] = json!(tags);
        }
    }
}

/// A deleted secret, which can be recovered or purged.
#[derive(Debug)]
pub(super) struct Deleted {
    pub(super) secret: Secret,
    at: UnixTime,
    /// The time at which the vault purges the secret.
    pub(super) purge_at: UnixTime,
}

impl Deleted {
    pub(super) fn new(secret: Secret, now: UnixTime) -> Self {
        let days = std::time::Duration::from_secs(RECOVERABLE_DAYS * 24 * 3600);
        Self { secret, at: now, purge_at: now.plus(days) }
    }

    /// Returns the properties of the deleted secret. If `with_version` is false, the id has no version, as in lists.
    pub(super) fn properties(&self, host: &str, with_version: bool) -> Value {
        let mut answer = json!({
            "recoveryId": format!("https://{host}/deletedsecrets/{}", self.secret.name),
            "deletedDate": self.at.as_secs(),
            "scheduledPurgeDate": self.purge_at.as_secs(),
        });
        self.secret.describe(&mut answer, host, with_version.then(|| self.secret.id("")));
        answer
    }
}
