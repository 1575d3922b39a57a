//! The metadata service's description of the machine.

use serde_json::{Map, Value};

use super::MalformedMachineAnswer;
use crate::json;
use crate::region::Region;

/// The path at which the metadata service describes the machine.
pub const COMPUTE_PATH: &str = "/metadata/instance/compute";

/// The API version that the client requests.
pub const COMPUTE_VERSION: &str = "2021-02-01";

/// The response of `/metadata/instance/compute`. Only the members about the protection of keys, the cloud and the
/// region are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeMetadata {
    /// `osType`. The text is empty if the response does not have it.
    pub os_type: String,
    /// `securityProfile.securityType`. The text is empty if the response does not have it.
    pub security_type: String,
    /// `azEnvironment`: the name of the cloud. The text is empty if the response does not have it.
    pub environment: String,
    /// `location`, unchecked. The text is empty if the response does not have it.
    pub location: String,
}

/// The domain of the attestation service in each cloud.
const ATTESTATION: [(&str, &str); 4] = [
    ("AzurePublicCloud", "attestation.microsoft.com"),
    ("AzureUSGovernmentCloud", "attestation.microsoftonline.us"),
    ("AzureChinaCloud", "attestation.partner.microsoftonline.cn"),
    ("AzureBleuCloud", "attestation.sovcloud-identity.fr"),
];

impl ComputeMetadata {
    /// Parses the body of a response with status 200.
    ///
    /// # Errors
    /// [`MalformedMachineAnswer`] if the body is not a JSON object without duplicate names. A member that is missing or
    /// is not a string is not an error: its text is empty.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedMachineAnswer> {
        let text = |members: &Map<String, Value>, name: &str| {
            members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let members = json::parse_object(body)?;
        let profile = members.get("securityProfile").and_then(Value::as_object);
        Ok(Self {
            os_type: text(&members, "osType"),
            security_type: profile.map_or_else(String::new, |profile| text(profile, "securityType")),
            environment: text(&members, "azEnvironment"),
            location: text(&members, "location"),
        })
    }

    /// Returns the URL of the attestation service of the machine's cloud and region. The result is `None` if the cloud
    /// is unknown, or if `location` is not a region: a slash or a dot in it would send the evidence of the key to a
    /// different host.
    pub fn attestation_endpoint(&self) -> Option<String> {
        let of_cloud = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(&self.environment);
        let (_, domain) = ATTESTATION.iter().find(of_cloud)?;
        let region = Region::parse(&self.location).ok()?;
        Some(format!("https://{}.{domain}", region.as_str().to_ascii_lowercase()))
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

    #[test]
    fn the_attestation_endpoint_follows_from_the_cloud_and_a_checked_region() {
        let endpoint = |environment: &str, location: &str| {
            let body = serde_json::json!({ "azEnvironment": environment, "location": location }).to_string();
            ComputeMetadata::parse(body.as_bytes()).unwrap().attestation_endpoint()
        };
        for (environment, location, expected) in [
            ("AzurePublicCloud", "westus3", "https://westus3.attestation.microsoft.com"),
            ("azurepubliccloud", "WestUS3", "https://westus3.attestation.microsoft.com"),
            (
                "AzureUSGovernmentCloud",
                "usgovvirginia",
                "https://usgovvirginia.attestation.microsoftonline.us",
            ),
            ("AzureChinaCloud", "chinaeast2", "https://chinaeast2.attestation.partner.microsoftonline.cn"),
            ("AzureBleuCloud", "francecentral", "https://francecentral.attestation.sovcloud-identity.fr"),
        ] {
            assert_eq!(endpoint(environment, location).as_deref(), Some(expected), "{environment}");
        }
        let long = "a".repeat(64);
        for location in [
            "",
            " ",
            "West US 3",
            "westus3\n",
            "evil.example/",
            "evil.example#",
            "evil.example?",
            "evil.example",
            "a@evil.example",
            "a:b",
            "a\\b",
            "a%2fb",
            "we\u{455}tus3",
            &long,
        ] {
            assert_eq!(endpoint("AzurePublicCloud", location), None, "{location:?}");
        }
        for environment in ["", "AzureGermanCloud", "AzurePublicCloud ", "Public"] {
            assert_eq!(endpoint(environment, "westus3"), None, "{environment:?}");
        }
        for body in
            ["{}", r#"{"azEnvironment":7,"location":"westus3"}"#, r#"{"azEnvironment":"AzurePublicCloud"}"#]
        {
            assert_eq!(ComputeMetadata::parse(body.as_bytes()).unwrap().attestation_endpoint(), None);
        }
    }
}
