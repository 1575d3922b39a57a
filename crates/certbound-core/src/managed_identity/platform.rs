//! Two responses of the metadata service: the platform metadata and the issued certificate.

use serde_json::{Map, Value};

use super::MalformedMachineAnswer;
use crate::json;
use crate::tenant::{is_guid, is_host_name};

/// The response of `getplatformmetadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformMetadata {
    /// The identity's client id, even if the request named the identity by a different id.
    pub client_id: String,
    /// The identity's tenant id.
    pub tenant_id: String,
    /// The compute unit that uses the identity.
    pub cu_id: CuId,
    /// The URL of the attestation service, which attests the key.
    pub attestation_endpoint: String,
}

/// The compute unit: a virtual machine, a scale set, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CuId {
    /// The virtual machine's id.
    pub vm_id: Option<String>,
    /// The scale set's id.
    pub vmss_id: Option<String>,
}

impl CuId {
    /// Returns compact JSON with `vmId` and `vmssId`, in this order. Absent ids and all other members of the response
    /// are omitted.
    pub fn to_json(&self) -> String {
        let mut members = Map::new();
        for (name, value) in [("vmId", &self.vm_id), ("vmssId", &self.vmss_id)] {
            if let Some(value) = value {
                members.insert(name.to_owned(), Value::String(value.clone()));
            }
        }
        Value::Object(members).to_string()
    }
}

impl PlatformMetadata {
    /// Parses the body of a response with status 200. `server` is the `Server` header of the response. It must contain
    /// `imds`, in upper or lower case, because the client must not send a certificate request to any other server.
    ///
    /// # Errors
    /// [`MalformedMachineAnswer`] if the server is not IMDS, or if a member is missing or malformed.
    pub fn parse(server: Option<&str>, body: &[u8]) -> Result<Self, MalformedMachineAnswer> {
        if !server.is_some_and(|server| server.to_ascii_lowercase().contains("imds")) {
            return Err(MalformedMachineAnswer::NotImds);
        }
        let members = json::parse_object(body)?;
        let cu_id =
            members.get("cuId").and_then(Value::as_object).ok_or(MalformedMachineAnswer::Missing("cuId"))?;
        let cu_id = CuId { vm_id: text(cu_id, "vmId"), vmss_id: text(cu_id, "vmssId") };
        if cu_id.vm_id.is_none() && cu_id.vmss_id.is_none() {
            return Err(MalformedMachineAnswer::Missing("cuId"));
        }
        let attestation_endpoint = required(&members, "attestationEndpoint")?;
        if url::Url::parse(&attestation_endpoint).is_err() {
            return Err(MalformedMachineAnswer::NotAUrl("attestationEndpoint"));
        }
        Ok(Self {
            client_id: guid(&members, "clientId")?,
            tenant_id: guid(&members, "tenantId")?,
            cu_id,
            attestation_endpoint,
        })
    }
}

/// The response of `issuecredential`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCredential {
    /// The identity's client id. The token request contains this id.
    pub client_id: String,
    /// The identity's tenant id.
    pub tenant_id: String,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// `SystemAssigned` or `UserAssigned`.
    pub identity_type: String,
    /// The URL of the token service for this certificate. It begins with `https://` and has no slash at the end.
    pub mtls_endpoint: String,
}

impl IssuedCredential {
    /// Parses the body of a response with status 200.
    ///
    /// # Errors
    /// [`MalformedMachineAnswer`] if a member is missing or malformed. The endpoint must be a host name or an `https`
    /// URL with a host name, because the client proves possession of its key at this endpoint.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedMachineAnswer> {
        use base64::Engine as _;

        let members = json::parse_object(body)?;
        let certificate = required(&members, "certificate")?;
        let certificate = base64::engine::general_purpose::STANDARD
            .decode(certificate)
            .map_err(|_| MalformedMachineAnswer::Certificate)?;
        Ok(Self {
            client_id: guid(&members, "client_id")?,
            tenant_id: guid(&members, "tenant_id")?,
            certificate,
            identity_type: required(&members, "identity_type")?,
            mtls_endpoint: endpoint(&required(&members, "mtls_authentication_endpoint")?)?,
        })
    }

    /// The URL at which the client requests the token.
    pub fn token_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.mtls_endpoint, self.tenant_id)
    }
}

/// Returns the endpoint as a URL. Platforms send a URL or a bare host.
fn endpoint(text: &str) -> Result<String, MalformedMachineAnswer> {
    let refused = || MalformedMachineAnswer::NotAUrl("mtls_authentication_endpoint");
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = url::Url::parse(&text).map_err(|_| refused())?;
    let plain = url.scheme() == "https"
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && matches!(url.host(), Some(url::Host::Domain(name)) if is_host_name(name))
        // `url` accepts more characters in a path than the client's requests can contain.
        && url.path().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
    if plain { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(refused()) }
}

fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn required(members: &Map<String, Value>, name: &'static str) -> Result<String, MalformedMachineAnswer> {
    text(members, name).ok_or(MalformedMachineAnswer::Missing(name))
}

fn guid(members: &Map<String, Value>, name: &'static str) -> Result<String, MalformedMachineAnswer> {
    let text = required(members, name)?.to_ascii_lowercase();
    if is_guid(&text) { Ok(text) } else { Err(MalformedMachineAnswer::NotAGuid(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"cuId":{"vmId":"01234567-89ab-cdef-0123-456789abcdef","x":1},"clientId":"11111111-2222-3333-4444-555555555555",
        "tenantId":"AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee","attestationEndpoint":"https://x.attest.azure.net","more":[]}"#;

    #[test]
    fn the_machine_is_known_by_what_it_says() {
        let found = PlatformMetadata::parse(Some("imds/150.870.65.1854"), METADATA.as_bytes()).unwrap();
        assert_eq!(found.tenant_id, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
        assert_eq!(found.cu_id.to_json(), r#"{"vmId":"01234567-89ab-cdef-0123-456789abcdef"}"#);
        let both = CuId { vm_id: Some("a".to_owned()), vmss_id: Some("b".to_owned()) };
        assert_eq!(both.to_json(), r#"{"vmId":"a","vmssId":"b"}"#);
        for server in [None, Some(""), Some("Microsoft-IIS/10.0"), Some("I_MDS/1")] {
            let refused = PlatformMetadata::parse(server, METADATA.as_bytes()).unwrap_err();
            assert_eq!(refused, MalformedMachineAnswer::NotImds);
        }
        for (from, to) in [
            (r#"{"vmId":"01234567-89ab-cdef-0123-456789abcdef","x":1}"#, r#""01234567""#),
            ("01234567-89ab-cdef-0123-456789abcdef", ""),
            ("11111111-2222-3333-4444-555555555555", "my-app, DC=x"),
            ("11111111-2222-3333-4444-555555555555", ""),
            ("tenantId", "tenant"),
            ("https://x.attest.azure.net", "x"),
            ("attestationEndpoint", "other"),
            ("\"more\"", "\"clientId\""),
            ("}}", "}"),
        ] {
            let broken = METADATA.replace(from, to);
            if broken != METADATA {
                assert!(PlatformMetadata::parse(Some("IMDS"), broken.as_bytes()).is_err(), "{from}");
            }
        }
    }

    #[test]
    fn a_certificate_comes_with_the_host_it_is_for() {
        let body = |endpoint: &str| {
            format!(
                r#"{{"client_id":"11111111-2222-3333-4444-555555555555","tenant_id":"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
                    "certificate":"MIID","identity_type":"SystemAssigned","mtls_authentication_endpoint":"{endpoint}"}}"#
            )
        };
        for endpoint in [
            "https://x.mtlsauth.microsoft.com",
            "https://x.mtlsauth.microsoft.com//",
            "x.mtlsauth.microsoft.com",
        ] {
            let issued = IssuedCredential::parse(body(endpoint).as_bytes()).unwrap();
            let expected =
                "https://x.mtlsauth.microsoft.com/aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee/oauth2/v2.0/token";
            assert_eq!(issued.token_endpoint(), expected, "{endpoint}");
        }
        for endpoint in [
            "",
            "http://x.example",
            "https://u@x.example",
            "https://x.example?y",
            "https://127.0.0.1",
            "ftp://x",
            // Some parsers accept most of these texts as URLs, and other parsers refuse them.
            "h`x.mtlsauth.microsoft.com",
            "x_y)).mtlsauth.microsoft.com",
            "x.example/a|b",
            "x.example/%60",
        ] {
            assert!(IssuedCredential::parse(body(endpoint).as_bytes()).is_err(), "{endpoint}");
        }
        for (from, to) in
            [("MIID", "M I"), ("SystemAssigned", ""), ("\"tenant_id\"", "\"t\""), ("1111-2222", "1111 2222")]
        {
            let broken = body("x.example").replace(from, to);
            assert!(IssuedCredential::parse(broken.as_bytes()).is_err(), "{from}");
        }
    }
}
