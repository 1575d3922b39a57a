//! What the metadata service says of the machine itself.

use serde_json::{Map, Value};

use super::MalformedMachineAnswer;
use crate::json;

/// The answer of `/metadata/instance/compute`, as far as it bears on keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeMetadata {
    /// `osType`; empty where it is not told.
    pub os_type: String,
    /// `securityProfile.securityType`; empty where it is not told.
    pub security_type: String,
}

impl ComputeMetadata {
    /// Reads the body of a 200 answer.
    ///
    /// # Errors
    /// [`MalformedMachineAnswer`] for what is no JSON object. What it lacks is empty.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedMachineAnswer> {
        let text = |members: &Map<String, Value>, name: &str| {
            members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let members = json::parse_object(body)?;
        let profile = members.get("securityProfile").and_then(Value::as_object);
        Ok(Self {
            os_type: text(&members, "osType"),
            security_type: profile.map_or_else(String::new, |profile| text(profile, "securityType")),
        })
    }

    /// Whether it is one of the machines on which the platform's own clients keep a key for bound tokens.
    pub fn guards_keys(&self) -> bool {
        let is_any = |text: &str, known: &[&str]| known.iter().any(|known| text.eq_ignore_ascii_case(known));
        is_any(&self.os_type, &["Windows"])
            && is_any(&self.security_type, &["TrustedLaunch", "ConfidentialVM"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_machines_guard_keys() {
        for (body, guards) in [
            (r#"{"osType":"Windows","securityProfile":{"securityType":"TrustedLaunch","x":1}}"#, true),
            (r#"{"osType":"windows","securityProfile":{"securityType":"confidentialvm"}}"#, true),
            (r#"{"osType":"Linux","securityProfile":{"securityType":"TrustedLaunch"}}"#, false),
            (r#"{"osType":"Windows","securityProfile":{"securityType":"Standard"}}"#, false),
            (r#"{"osType":"Windows","securityProfile":"TrustedLaunch"}"#, false),
            (r#"{"osType":"Windows"}"#, false),
            ("{}", false),
        ] {
            let machine = ComputeMetadata::parse(body.as_bytes()).unwrap();
            assert_eq!(machine.guards_keys(), guards, "{body}");
        }
        assert!(ComputeMetadata::parse(b"[]").is_err());
    }
}
