//! The names of clouds in the world file, and the resources that only some clouds have.

use certbound_core::environment::{Cloud, exchange_uris};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// The names of all clouds, in the order of [`Cloud::ALL`].
const NAMES: &[&str] =
    &["public", "china", "us_government", "germany_legacy", "france", "germany", "singapore", "ppe"];

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn serialize<S: Serializer>(cloud: &Cloud, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cloud)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cloud, D::Error> {
    let name = String::deserialize(deserializer)?;
    let found = Cloud::ALL.iter().find(|cloud| cloud.to_string() == name);
    found.copied().ok_or_else(|| D::Error::unknown_variant(&name, NAMES))
}

/// Returns whether a URI is a well-known resource that other clouds have and this cloud does not have.
pub(crate) fn is_only_elsewhere(cloud: Cloud, name: &str) -> bool {
    let bare = name.strip_suffix('/').unwrap_or(name);
    let has = |cloud: &Cloud| {
        cloud.exchange_uri() == Some(bare) || [cloud.vault_uri(), cloud.graph_uri()].contains(&bare)
    };
    !has(&cloud) && Cloud::ALL.iter().any(has)
}

/// Returns whether a URI is the audience of the token exchange of another cloud.
pub(crate) fn is_exchange_elsewhere(cloud: Cloud, name: &str) -> bool {
    cloud.exchange_uri() != Some(name) && exchange_uris().any(|other| other == name)
}

#[cfg(test)]
pub(super) fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": NAMES })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_has_its_name() {
        let names: Vec<String> = Cloud::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names, NAMES);
    }
}
