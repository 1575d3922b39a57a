//! The metadata service's description of the machine.

use serde_json::{Map, Value};

use super::MalformedMachineAnswer;
use crate::json;

/// The response of `/metadata/instance/compute`. Only the members about the protection of keys are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeMetadata {
    /// `osType`. Empty if the response does not have it.
    pub os_type: String,
    /// `securityProfile.securityType`. Empty if the response does not have it.
    pub security_type: String,
}

impl ComputeMetadata {
    /// Parses the body of a response with status 200.
    ///
    /// # Errors
    /// [`MalformedMachineAnswer`] if the body is not a JSON object. A missing member is not an error.
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

    /// Whether Microsoft's own clients keep a key for bound tokens on this kind of machine: Windows with Trusted
    /// Launch, or a confidential VM with Windows.
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
