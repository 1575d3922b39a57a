//! Instance discovery: a document that lists the login hosts of each environment.

use std::sync::Arc;
use strum::EnumProperty as _;

use serde_json::Value;

use super::Authority;
use crate::environment::known_environment;
use crate::json::{self, JsonError};
use crate::shown::shown;
use crate::tenant::is_host_name;

/// An environment in instance metadata: a set of login hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Environment {
    preferred_network: String,
    preferred_cache: String,
    aliases: Vec<String>,
}

impl Environment {
    /// The host to which the client sends requests, in lower case.
    pub fn preferred_network(&self) -> &str {
        &self.preferred_network
    }

    /// The host under which the client caches tokens, in lower case.
    pub fn preferred_cache(&self) -> &str {
        &self.preferred_cache
    }

    /// Every login host of the environment, in lower case.
    pub fn aliases(&self) -> &[String] {
        &self.aliases
    }
}

/// The response of instance discovery, or a document of the same form that the caller supplies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceMetadata(Vec<Arc<Environment>>);

impl InstanceMetadata {
    /// The largest document that is read, in bytes.
    pub const MAX_BYTES: usize = 256 * 1024;
    /// The largest number of environments in a document.
    pub const MAX_ENVIRONMENTS: usize = 256;

    /// Parses `{"metadata":[{"preferred_network":…,"preferred_cache":…,"aliases":[…]}]}`.
    ///
    /// Other members are ignored. Hosts are converted to lower case.
    ///
    /// # Errors
    /// [`InstanceError`] if the document is larger than [`Self::MAX_BYTES`], is not JSON, does not have 1 to 256
    /// environments, or contains a malformed environment.
    pub fn parse(document: &[u8]) -> Result<Self, InstanceError> {
        if document.len() > Self::MAX_BYTES {
            return Err(InstanceError::TooLarge { length: document.len() });
        }
        let document = json::parse_object(document)?;
        let listed = document.get("metadata").and_then(Value::as_array).ok_or(InstanceError::NoMetadata)?;
        if listed.is_empty() || listed.len() > Self::MAX_ENVIRONMENTS {
            return Err(InstanceError::NoMetadata);
        }
        listed.iter().map(environment).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the environment that has `host` among its aliases. Upper and lower case are equal.
    pub fn of_host(&self, host: &str) -> Option<&Arc<Environment>> {
        self.0.iter().find(|it| it.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(host)))
    }
}

fn environment(entry: &Value) -> Result<Arc<Environment>, InstanceError> {
    let host = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).ok_or(InstanceError::NoMetadata)?.to_ascii_lowercase();
        if is_host_name(&text) { Ok(text) } else { Err(InstanceError::NotAHost { shown: shown(&text) }) }
    };
    let aliases = entry.get("aliases").and_then(Value::as_array).ok_or(InstanceError::NoMetadata)?;
    Ok(Arc::new(Environment {
        preferred_network: host(entry.get("preferred_network"))?,
        preferred_cache: host(entry.get("preferred_cache"))?,
        aliases: aliases.iter().map(|alias| host(Some(alias))).collect::<Result<_, _>>()?,
    }))
}

/// Returns the URL of instance discovery for an authority's host. The URL is on the authority's host if that host is
/// known, otherwise on the public cloud's host.
///
/// ```
/// use certbound_core::authority::{Authority, instance::discovery_url};
///
/// let authority = Authority::parse("https://login.example/contoso.com")?;
/// assert_eq!(
///     discovery_url(&authority),
///     "https://login.microsoftonline.com/common/discovery/instance?api-version=1.1&authorization_endpoint=\
///      https%3A%2F%2Flogin.example%2Fcontoso.com%2Foauth2%2Fv2.0%2Fauthorize"
/// );
/// # Ok::<(), certbound_core::authority::AuthorityUrlError>(())
/// ```
pub fn discovery_url(authority: &Authority) -> String {
    let at = match known_environment(authority.host()) {
        Some(_) => authority.host_and_port(),
        None => "login.microsoftonline.com".to_owned(),
    };
    let endpoint = format!("{}oauth2/v2.0/authorize", authority.url());
    let endpoint: String = form_urlencoded::byte_serialize(endpoint.as_bytes()).collect();
    format!("https://{at}/common/discovery/instance?api-version=1.1&authorization_endpoint={endpoint}")
}

/// The reason why a document is not instance metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum InstanceError {
    /// The document is larger than [`InstanceMetadata::MAX_BYTES`].
    #[error(
        "the instance metadata is {length} bytes long; at most {} bytes are accepted",
        InstanceMetadata::MAX_BYTES
    )]
    TooLarge {
        /// The length of the document in bytes.
        length: usize,
    },
    /// The document is not an acceptable JSON object.
    #[error("the instance metadata cannot be read: {0}")]
    Json(#[from] JsonError),
    /// The document has no list of 1 to 256 environments, or one of the three members of an entry is missing or has the
    /// wrong type.
    #[error(
        "the instance metadata has no `metadata` array of 1 to 256 objects with `preferred_network`, `preferred_cache` and `aliases`"
    )]
    NoMetadata,
    /// A name in the document is not a host name.
    #[error("`{shown}` in the instance metadata is not a host name")]
    NotAHost {
        /// The start of the name, escaped.
        shown: String,
    },
    /// No environment in the document has the authority's host among its aliases.
    #[error("the instance metadata has no entry for the authority's host `{host}`")]
    #[strum(props(
        fix = "add the authority's host to the `aliases` of the environment that the host belongs to"
    ))]
    HostMissing {
        /// The host, escaped.
        host: String,
    },
}

impl InstanceError {
    /// Returns MSAL's code, which has hyphens.
    pub fn code(&self) -> &'static str {
        "invalid-custom-instance-metadata"
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix")
            .unwrap_or("give the document that the discovery endpoint returns, `{\"metadata\":[{...}]}`")
    }
}

impl Authority {
    /// Returns the same authority in the environment that `metadata` has for the authority's host.
    ///
    /// # Errors
    /// [`InstanceError::HostMissing`] if `metadata` has no environment for the host.
    pub fn with_instance_metadata(self, metadata: &InstanceMetadata) -> Result<Self, InstanceError> {
        match metadata.of_host(self.host()) {
            Some(environment) => Ok(self.in_environment(Arc::clone(environment))),
            None => Err(InstanceError::HostMissing { host: shown(self.host()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"tenant_discovery_endpoint":"x","api-version":"1.1","metadata":[
        {"preferred_network":"Login.Custom.Example","preferred_cache":"cache.custom.example",
         "aliases":["login.custom.example","sts.custom.example"]}]}"#;

    #[test]
    fn an_environment_is_found_by_any_of_its_hosts() {
        let metadata = InstanceMetadata::parse(DOCUMENT.as_bytes()).unwrap();
        let found = metadata.of_host("STS.custom.example").unwrap();
        assert_eq!(found.preferred_network(), "login.custom.example");
        assert_eq!(found.preferred_cache(), "cache.custom.example");
        assert_eq!(metadata.of_host("login.other.example"), None);
        let other = Authority::parse("https://login.other.example/contoso.com").unwrap();
        assert!(matches!(other.with_instance_metadata(&metadata), Err(InstanceError::HostMissing { .. })));
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        let entry = |network: &str, aliases: &str| {
            format!(
                r#"{{"metadata":[{{"preferred_network":{network},"preferred_cache":"a.b","aliases":{aliases}}}]}}"#
            )
        };
        for document in [
            String::new(),
            "[]".into(),
            "{}".into(),
            r#"{"metadata":{}}"#.into(),
            r#"{"metadata":[]}"#.into(),
            r#"{"metadata":[7]}"#.into(),
            r#"{"metadata":[],"metadata":[]}"#.into(),
            entry("7", "[]"),
            entry("\"a.b\"", "7"),
            entry("\"a.b\"", "[7]"),
            entry("\"a.b/evil\"", "[]"),
            entry("\"a.b:443\"", "[]"),
            entry("\"user@a.b\"", "[]"),
            entry("\"a.b\"", "[\"\"]"),
            " ".repeat(InstanceMetadata::MAX_BYTES + 1),
        ] {
            let error = InstanceMetadata::parse(document.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "invalid-custom-instance-metadata", "{document:.60}");
        }
    }
}
