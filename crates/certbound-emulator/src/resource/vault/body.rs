//! The JSON bodies of requests to a vault. A text of a refusal never repeats a value, because it may be a secret.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::refusal::VaultRefusal;

/// The longest value of a secret, in bytes.
pub(super) const MAX_VALUE: usize = 25 * 1024;
/// The longest content type of a secret, in bytes.
const MAX_CONTENT_TYPE: usize = 255;
/// The largest number of tags of a secret.
const MAX_TAGS: usize = 15;
/// The longest name and the longest value of a tag, in bytes.
const MAX_TAG: usize = 256;

/// A JSON object.
pub(super) struct Body(Map<String, Value>);

/// The changeable properties of a secret. A property that is absent or `null` is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) content_type: Option<String>,
    pub(super) enabled: Option<bool>,
    /// The start of the validity, in seconds since 1970.
    pub(super) nbf: Option<u64>,
    /// The end of the validity, in seconds since 1970.
    pub(super) exp: Option<u64>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

impl Body {
    pub(super) fn of(body: &Bytes) -> Result<Self, VaultRefusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            _ => Err(VaultRefusal::bad_parameter("The request body is not a JSON object.")),
        }
    }

    /// Returns a text that must be present.
    pub(super) fn text(&self, name: &str) -> Result<&str, VaultRefusal> {
        self.0.get(name).and_then(Value::as_str).ok_or_else(|| VaultRefusal::invalid_property(name))
    }

    /// Returns the value of a secret, which must be present.
    pub(super) fn secret(&self) -> Result<&str, VaultRefusal> {
        self.text("value").and_then(|value| match value.len() <= MAX_VALUE {
            true => Ok(value),
            false => Err(VaultRefusal::invalid_property("value")),
        })
    }

    /// Returns the properties of a secret.
    pub(super) fn properties(&self) -> Result<Properties, VaultRefusal> {
        let content_type = optional(&self.0, "contentType", Value::as_str)?.map(str::to_owned);
        if content_type.as_ref().is_some_and(|it| it.len() > MAX_CONTENT_TYPE) {
            return Err(VaultRefusal::invalid_property("contentType"));
        }
        let none = Map::new();
        let attributes = optional(&self.0, "attributes", Value::as_object)?.unwrap_or(&none);
        Ok(Properties {
            content_type,
            enabled: optional(attributes, "enabled", Value::as_bool)?,
            nbf: optional(attributes, "nbf", Value::as_u64)?,
            exp: optional(attributes, "exp", Value::as_u64)?,
            tags: optional(&self.0, "tags", Value::as_object)?.map(tags).transpose()?,
        })
    }
}

/// Returns a member that may be absent or `null`.
fn optional<'b, T>(
    members: &'b Map<String, Value>,
    name: &str,
    read: impl FnOnce(&'b Value) -> Option<T>,
) -> Result<Option<T>, VaultRefusal> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| VaultRefusal::invalid_property(name)),
    }
}

fn tags(members: &Map<String, Value>) -> Result<BTreeMap<String, String>, VaultRefusal> {
    let tag = |(name, value): (&String, &Value)| {
        let value = value.as_str().filter(|value| name.len() <= MAX_TAG && value.len() <= MAX_TAG);
        value.map(|value| (name.clone(), value.to_owned()))
    };
    let all: Option<BTreeMap<String, String>> = members.iter().map(tag).collect();
    all.filter(|all| all.len() <= MAX_TAGS).ok_or_else(|| VaultRefusal::invalid_property("tags"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(value: &Value) -> Body {
        Body::of(&Bytes::from(value.to_string())).unwrap_or_else(|_| panic!("{value} is an object"))
    }

    #[test]
    fn absent_and_null_properties_are_the_same() {
        let found = body(&json!({ "value": "v", "contentType": null, "attributes": null, "tags": null }));
        assert_eq!(found.properties().unwrap(), Properties::default());
        assert_eq!(found.secret().unwrap(), "v");
        let found = body(&json!({ "attributes": { "enabled": false, "nbf": 1, "exp": null }, "tags": {} }));
        let expected = Properties {
            enabled: Some(false),
            nbf: Some(1),
            tags: Some(BTreeMap::new()),
            ..Properties::default()
        };
        assert_eq!(found.properties().unwrap(), expected);
    }

    #[test]
    fn each_limit_is_exact() {
        let value = |length: usize| body(&json!({ "value": "v".repeat(length) })).secret().is_ok();
        assert!(value(0) && value(25_600) && !value(25_601));
        let content_type =
            |length: usize| body(&json!({ "contentType": "v".repeat(length) })).properties().is_ok();
        assert!(content_type(255) && !content_type(256));
        let tags = |count: usize, length: usize| {
            let tags: Map<String, Value> =
                (0..count).map(|n| (n.to_string(), json!("v".repeat(length)))).collect();
            body(&json!({ "tags": tags })).properties().is_ok()
        };
        assert!(tags(15, 256) && !tags(16, 1) && !tags(1, 257));
    }

    #[test]
    fn wrong_types_are_refused_without_the_value() {
        for wrong in [
            json!({ "value": 1 }),
            json!({ "value": ["hunter2"] }),
            json!({}),
            json!({ "value": "v", "contentType": { "hunter2": 1 } }),
            json!({ "value": "v", "attributes": "hunter2" }),
            json!({ "value": "v", "attributes": { "enabled": "hunter2" } }),
            json!({ "value": "v", "attributes": { "nbf": -1 } }),
            json!({ "value": "v", "attributes": { "exp": "2026-01-01" } }),
            json!({ "value": "v", "tags": ["hunter2"] }),
            json!({ "value": "v", "tags": { "a": 1 } }),
        ] {
            let body = body(&wrong);
            let refusal = body.secret().and_then(|_| body.properties()).unwrap_err();
            assert_eq!(refusal.code, "BadParameter", "{wrong}");
            assert!(!refusal.message.contains("hunter2"), "{}", refusal.message);
        }
        for wrong in ["", "[]", "\"hunter2\"", "{", "null"] {
            assert!(Body::of(&Bytes::from_static(wrong.as_bytes())).is_err(), "{wrong}");
        }
    }
}
