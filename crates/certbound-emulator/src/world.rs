//! What exists: tenants, applications with their credentials, and resources.

pub mod builtin;
mod check;
mod cloud;
mod document;
mod error;
pub(crate) mod expression;
pub(crate) mod hosts;
#[cfg(test)]
mod schema;

use std::collections::BTreeMap;

use certbound_core::environment::Cloud;
use serde::{Deserialize, Serialize};

pub(crate) use self::cloud::is_only_elsewhere;
pub use self::error::{WorldError, WorldMistake};

/// Everything the emulator knows about; fixed while it runs.
///
/// It holds no keys and no users. Identifiers are compared byte for byte; write GUIDs in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct World {
    /// The directories.
    #[serde(default)]
    pub tenants: Vec<Tenant>,
    /// The applications, each with its home directory.
    #[serde(default)]
    pub applications: Vec<Application>,
    /// The resources tokens are asked for.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// Certificate authorities that SN/I trusts beside the emulator's own, PEM.
    #[serde(default)]
    pub trusted_authorities: Vec<String>,
    /// Token issuers other than Entra.
    #[serde(default)]
    pub external_issuers: Vec<ExternalIssuer>,
    /// How long after the start, or a reset, federated credentials are still unknown (70021), in seconds. Default: 0.
    #[serde(default)]
    pub propagation_seconds: u64,
    /// Whether an assertion works once only (700024 from then on). Default: as long as it lives.
    #[serde(default)]
    pub one_time_assertions: bool,
    /// The identities of the machine that programs believe to run on; each is an application too, of the same client id.
    #[serde(default)]
    pub managed_identities: Vec<ManagedIdentity>,
    /// That machine.
    #[serde(default)]
    pub machine: Machine,
    /// Whether TLS sessions may be resumed. Off: every connection proves the client's key anew.
    #[serde(default)]
    pub session_resumption: bool,
}

/// A directory. It exists in every cloud, under that cloud's issuer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Its id, a GUID.
    pub id: String,
    /// Its verified domain names.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// An application registration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Its client id, a GUID.
    pub id: String,
    /// The tenant it is registered in.
    pub home_tenant: String,
    /// The object id of its service principal, by tenant id; a tenant not named here does not know the application.
    pub principals: BTreeMap<String, String>,
    /// Whether it may sign in at all. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether Microsoft enabled it for mutual TLS (51000 if not). Default: true.
    #[serde(default = "yes")]
    pub mutual_tls_enabled: bool,
    /// Its client secrets; never written out.
    #[serde(default, skip_serializing)]
    pub secrets: Vec<String>,
    /// Client secrets that have expired (7000222); never written out.
    #[serde(default, skip_serializing)]
    pub expired_secrets: Vec<String>,
    /// Subject names trusted by subject name and issuer (SN/I), such as `CN=certbound-demo-app`.
    #[serde(default)]
    pub trusted_subjects: Vec<String>,
    /// Certificates registered one by one, PEM; good for signed assertions, not for mutual TLS.
    #[serde(default)]
    pub registered_certificates: Vec<String>,
    /// Its federated identity credentials, at most 20.
    #[serde(default)]
    pub federated_credentials: Vec<FederatedCredential>,
    /// Application permissions, by the resource's application id.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
}

/// A federated identity credential: issuer, audience, and the subject where it has one, are compared exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FederatedCredential {
    /// The `iss` of the assertion.
    pub issuer: String,
    /// The `sub` of the assertion. Empty with an expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Instead of a subject, a flexible credential: `claims['sub'] matches 'repo:contoso/*'`, by `eq` or `matches`
    /// (`?` one character, `*` any number), several joined by `and`. For GitHub, GitLab and Terraform Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims_matching_expression: Option<String>,
    /// The audience, a URI such as `api://AzureADTokenExchange`.
    pub audience: String,
}

/// An issuer that is not Entra.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExternalIssuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The emulator itself is this issuer: it serves metadata and keys, and signs a token for whoever posts its claims
    /// to `{issuer}/token`. Default: false.
    #[serde(default)]
    pub served: bool,
    /// Its keys: JSON Web Keys (RFC 7517). None: they are fetched, by discovery, when they are needed.
    #[serde(default)]
    pub keys: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Certificate authorities (PEM) trusted for fetching, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_roots: Option<String>,
    /// Whether its keys may be fetched from loopback and private addresses, for an issuer on this machine.
    #[serde(default)]
    pub private_address_allowed: bool,
}

/// A managed identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ManagedIdentity {
    /// Its client id: that of one of the applications, which has its principal and its roles.
    pub client_id: String,
    /// Its Azure resource id. None: the machine's own (system-assigned) identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// The virtual machine's id.
    pub vm_id: String,
    /// The id of its scale set; empty for none.
    pub vmss_id: String,
    /// Its region, in which its certificates are used.
    pub location: String,
    /// Its cloud: that of its certificates and tokens. Default: `public`.
    #[serde(with = "cloud")]
    #[cfg_attr(test, schemars(schema_with = "cloud::schema"))]
    pub cloud: Cloud,
    /// Its name.
    pub name: String,
    /// The subscription it is in.
    pub subscription_id: String,
    /// The resource group it is in.
    pub resource_group: String,
    /// Whether its metadata service issues certificates (version 2). Default: true.
    pub issues_certificates: bool,
    /// Whether it does so only with an attestation token.
    pub attestation_required: bool,
    /// Whether it gives the same certificate again for the same identity and key, for half of its life, unless it is
    /// asked with `bypass_cache=true`.
    pub keeps_certificates: bool,
    /// Whether it refuses more than 20 calls a second, or 5 at once, for tokens and certificates, and more than 5 a second
    /// for the rest (429).
    pub throttled: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            vm_id: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
            vmss_id: String::new(),
            location: "westus3".to_owned(),
            cloud: Cloud::Public,
            name: "demo".to_owned(),
            subscription_id: "6c1f0e4a-2d8b-4937-8a5e-f30b7d91c246".to_owned(),
            resource_group: "demo".to_owned(),
            issues_certificates: true,
            attestation_required: false,
            keeps_certificates: false,
            throttled: false,
        }
    }
}

/// A resource: what a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its identifier URIs, the first one being the usual one.
    pub uris: Vec<String>,
    /// Its application id, a GUID; the `aud` of version 2 tokens.
    pub app_id: String,
    /// The version of the tokens it takes. Default: version 2.
    #[serde(default)]
    pub token_version: TokenVersion,
    /// Whether it takes certificate-bound tokens. Default: refused.
    #[serde(default)]
    pub bound_tokens: BoundTokens,
    /// How it answers. Default: custom.
    #[serde(default)]
    pub style: ResourceStyle,
    /// The hosts it is served at; none for a resource that is only a name.
    #[serde(default)]
    pub hosts: Vec<ResourceHost>,
    /// What it holds, by name: secrets of a vault, orders of the custom API.
    #[serde(default)]
    pub items: BTreeMap<String, String>,
}

/// A host of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ResourceHost {
    /// The host name in lower case; `*.` at the front stands for exactly one label.
    pub name: String,
    /// Whether its TLS handshake asks for a client certificate. Default: true.
    #[serde(default = "yes")]
    pub asks_for_certificate: bool,
}

/// The version of the access tokens a resource takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenVersion {
    /// Version 1.0: issuer `https://sts.windows.net/{tenant}/`, audience as asked for.
    V1,
    /// Version 2.0: issuer `https://{login host}/{tenant}/v2.0`, audience the application id.
    #[default]
    V2,
}

/// A resource's attitude to certificate-bound tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BoundTokens {
    /// None is issued for it (392196).
    #[default]
    Refused,
    /// Taken beside plain ones.
    Allowed,
    /// Plain ones are issued, but the resource refuses them.
    Required,
}

/// How a resource words its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ResourceStyle {
    /// Like Microsoft Graph.
    Graph,
    /// Like Azure Key Vault; bound tokens need the header `x-ms-tokenboundauth: true`.
    Vault,
    /// As RFC 6750 says, with the scheme `mtls_pop`.
    #[default]
    Custom,
}

const fn yes() -> bool {
    true
}

impl World {
    /// The tenant with this id or domain name, any case.
    pub fn tenant(&self, id_or_domain: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| {
            tenant.id.eq_ignore_ascii_case(id_or_domain)
                || tenant.domains.iter().any(|domain| domain.eq_ignore_ascii_case(id_or_domain))
        })
    }

    /// The application with this client id, any case, wherever it is provisioned.
    pub fn application(&self, client_id: &str) -> Option<&Application> {
        self.applications.iter().find(|application| application.id.eq_ignore_ascii_case(client_id))
    }

    /// The application to change, for building a world.
    pub fn application_mut(&mut self, client_id: &str) -> Option<&mut Application> {
        self.applications.iter_mut().find(|application| application.id.eq_ignore_ascii_case(client_id))
    }

    /// The managed identity with this client id, any case.
    pub(crate) fn managed_identity(&self, client_id: &str) -> Option<&ManagedIdentity> {
        self.managed_identities.iter().find(|identity| identity.client_id.eq_ignore_ascii_case(client_id))
    }

    /// The resource a scope names without `/.default`: by URI, with or without one more slash, or by application id.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.answers_to(name))
    }
}

impl Application {
    /// An application without any credential, provisioned in its home tenant.
    pub fn new(id: &str, home_tenant: &str, principal: &str) -> Self {
        Self {
            id: id.to_owned(),
            home_tenant: home_tenant.to_owned(),
            principals: BTreeMap::from([(home_tenant.to_owned(), principal.to_owned())]),
            enabled: true,
            mutual_tls_enabled: true,
            secrets: Vec::new(),
            expired_secrets: Vec::new(),
            trusted_subjects: Vec::new(),
            registered_certificates: Vec::new(),
            federated_credentials: Vec::new(),
            roles: BTreeMap::new(),
        }
    }
}

impl Machine {
    /// Its Azure resource id.
    pub fn resource_id(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Compute/virtualMachines/{}",
            self.subscription_id, self.resource_group, self.name
        )
    }
}

impl ExternalIssuer {
    /// Whether its keys come over the network.
    pub(crate) fn is_fetched(&self) -> bool {
        self.keys.is_empty() && !self.served
    }

    /// Its name without the slash that some issuers end in: what stands before the paths.
    pub(crate) fn base(&self) -> &str {
        self.issuer.trim_end_matches('/')
    }

    /// The host that it is served at, if it is: `https://` and a name, then nothing or a path.
    pub(crate) fn served_host(&self) -> Option<&str> {
        let rest = self.issuer.strip_prefix("https://").filter(|_| self.served)?;
        rest.split('/').next()
    }
}

impl Resource {
    /// Whether a scope or an `aud` of this spelling means this resource.
    pub fn answers_to(&self, name: &str) -> bool {
        let bare = name.strip_suffix('/').unwrap_or(name);
        self.app_id == name || self.uris.iter().any(|uri| uri == name || uri == bare)
    }
}
