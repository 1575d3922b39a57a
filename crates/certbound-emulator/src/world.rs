//! The world: tenants, applications with their credentials, and resources.

pub mod builtin;
pub(crate) mod check;
mod cloud;
mod document;
mod error;
pub(crate) mod expression;
pub(crate) mod hosts;
#[cfg(test)]
mod schema;
pub(crate) mod token_binding;

use std::collections::BTreeMap;

use certbound_core::environment::Cloud;
use serde::{Deserialize, Serialize};

pub(crate) use self::cloud::{is_exchange_elsewhere, is_only_elsewhere};
pub use self::error::{WorldError, WorldMistake};
pub use self::token_binding::{TokenBindingMode, TokenBindingParameters, TokenBindingStrength};

/// The configuration of an emulator. Requests do not change it. A running server can replace it by another world.
///
/// The world contains no private keys and no users. References between its entries are compared byte for byte, so write
/// GUIDs in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct World {
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// The applications.
    pub applications: Vec<Application>,
    /// The resources for which tokens are requested.
    pub resources: Vec<Resource>,
    /// Certificate authorities that SN/I trusts in addition to the emulator's own authority, PEM.
    pub trusted_authorities: Vec<String>,
    /// Token issuers other than Entra.
    pub external_issuers: Vec<ExternalIssuer>,
    /// The time after which a change through Microsoft Graph takes effect at the token service, in seconds. The world's
    /// federated credentials take effect this time after the start or a reset (70021 until then). Default: 0.
    pub propagation_seconds: u64,
    /// The lifetime of every token, in seconds: at least 2, and at most a day. If this key is set, the token service
    /// suggests a new token after half of the lifetime (`refresh_in`). Default: an hour, and a day for a managed
    /// identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_lifetime_seconds: Option<u64>,
    /// Whether an assertion is accepted only once (700024 for a second use). Default: no, an assertion is accepted
    /// until it expires.
    pub one_time_assertions: bool,
    /// The managed identities of the machine. Each identity is also an application with the same client id.
    pub managed_identities: Vec<ManagedIdentity>,
    /// The machine on which programs with a managed identity run.
    pub machine: Machine,
    /// Whether TLS sessions may be resumed. Default: no, so the client proves its key on every connection.
    pub session_resumption: bool,
}

/// A tenant. It exists in every cloud, under that cloud's issuer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// The id, a GUID.
    pub id: String,
    /// The verified domain names of the tenant.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// An application registration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The client id, a GUID.
    pub id: String,
    /// The tenant in which the application is registered.
    pub home_tenant: String,
    /// The object id of the application's service principal, by tenant id. In a tenant that is not listed, the
    /// application does not exist.
    pub principals: BTreeMap<String, String>,
    /// Whether the application can get tokens. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether Microsoft enabled the application for mutual TLS (51000 if not). Default: true.
    #[serde(default = "yes")]
    pub mutual_tls_enabled: bool,
    /// The client secrets. The emulator never prints client secrets, except the secret of the built-in world.
    #[serde(default, skip_serializing)]
    pub secrets: Vec<String>,
    /// Client secrets that have expired (7000222). The emulator never prints these secrets.
    #[serde(default, skip_serializing)]
    pub expired_secrets: Vec<String>,
    /// The subjects that SN/I trusts, such as `CN=certbound-demo-app`.
    #[serde(default)]
    pub trusted_subjects: Vec<String>,
    /// Individually registered certificates, PEM. Their keys can sign assertions, but the certificates cannot be used
    /// for mutual TLS.
    #[serde(default)]
    pub registered_certificates: Vec<String>,
    /// The federated credentials of the application, at most 20.
    #[serde(default)]
    pub federated_credentials: Vec<FederatedCredential>,
    /// The application permissions, by the resource's application id.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    /// The strength that a claim of the application's bound tokens names. By default the tokens do not have this claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_binding_strength: Option<TokenBindingStrength>,
}

/// A federated credential. The issuer, the audience and the subject are compared exactly. An expression can replace the
/// subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FederatedCredential {
    /// The `iss` of the assertion.
    pub issuer: String,
    /// The `sub` of the assertion. It is empty if there is an expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The expression of a flexible credential, instead of a subject: `claims['sub'] matches 'repo:contoso/*'`. The
    /// operators are `eq` and `matches` (`?` matches one character, `*` matches any number of characters). `and` joins
    /// several conditions. Only the issuers GitHub, GitLab and Terraform Cloud support expressions.
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
    /// The `iss` of the issuer's tokens.
    pub issuer: String,
    /// Whether the emulator itself is this issuer. The emulator then publishes metadata and keys, and signs a token for
    /// every client that posts claims to `{issuer}/token`. Default: false.
    #[serde(default)]
    pub served: bool,
    /// The issuer's keys: JSON Web Keys (RFC 7517). If this list is empty and `served` is false, the emulator fetches
    /// the keys by discovery on demand.
    #[serde(default)]
    pub keys: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Certificate authorities (PEM) that are trusted for the fetch, instead of those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_roots: Option<String>,
    /// Whether the emulator may fetch the keys from loopback and private addresses. Set this key to true for an issuer
    /// on this machine. Default: false.
    #[serde(default)]
    pub private_address_allowed: bool,
}

/// A managed identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ManagedIdentity {
    /// The client id. The application with the same id has the identity's principal and roles.
    pub client_id: String,
    /// The Azure resource id. Without a resource id, the identity is the machine's own (system-assigned) identity.
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
    /// The id of the machine's scale set. It is empty for a machine without a scale set.
    pub vmss_id: String,
    /// The machine's region. Clients use the machine's certificates at the token service of this region.
    pub location: String,
    /// The machine's cloud, which is also the cloud of the certificates and tokens of the machine. Default: `public`.
    #[serde(with = "cloud")]
    #[cfg_attr(test, schemars(schema_with = "cloud::schema"))]
    pub cloud: Cloud,
    /// The name of the machine.
    pub name: String,
    /// The machine's subscription.
    pub subscription_id: String,
    /// The machine's resource group.
    pub resource_group: String,
    /// Whether the machine's metadata service issues certificates (version 2). Default: true.
    pub issues_certificates: bool,
    /// Whether the machine's metadata service requires an attestation token for a certificate.
    pub attestation_required: bool,
    /// Whether the machine's metadata service returns the same certificate again for the same identity and key, for
    /// half of the certificate's lifetime. A request with `bypass_cache=true` always gets a new certificate.
    pub keeps_certificates: bool,
    /// Whether the machine's metadata service limits calls (429). For tokens and certificates the limits are 20 calls
    /// in a second and 5 at the same time. For other calls the limit is 5 in a second.
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

/// A resource for which tokens are issued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// The identifier URIs of the resource.
    pub uris: Vec<String>,
    /// The application id of the resource, a GUID. This id is the `aud` of version 2 tokens.
    pub app_id: String,
    /// The version of the tokens that the resource accepts. Default: version 2.
    #[serde(default)]
    pub token_version: TokenVersion,
    /// Whether the resource accepts bound tokens. Default: refused.
    #[serde(default)]
    pub bound_tokens: BoundTokens,
    /// The rules of a vault for bound tokens. By default there are no rules, and only `bound_tokens` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_binding_parameters: Option<TokenBindingParameters>,
    /// The form of the resource's answers. Default: custom.
    #[serde(default)]
    pub style: ResourceStyle,
    /// The hosts of the resource. Tokens are issued for a resource without hosts, but no client can call the resource.
    #[serde(default)]
    pub hosts: Vec<ResourceHost>,
    /// The content of the resource, by name: the secrets of a vault, or the orders of the custom API.
    #[serde(default)]
    pub items: BTreeMap<String, String>,
    /// The keys of a vault, by name. The emulator generates the keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, VaultKeyKind>,
    /// The certificates of a vault, by name. The emulator's authority issues the certificates. Each certificate also
    /// has a key and a secret of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, VaultCertificate>,
}

/// The kind of a key in a vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VaultKeyKind {
    /// A 2048-bit RSA key, which signs with RS256 and PS256.
    #[default]
    Rsa2048,
    /// An elliptic-curve key on P-256, which signs with ES256.
    P256,
}

/// A certificate in a vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VaultCertificate {
    /// The common name. The whole subject is `CN=` and this name.
    pub common_name: String,
    /// The kind of the certificate's key. Default: a 2048-bit RSA key.
    #[serde(default)]
    pub key: VaultKeyKind,
}

/// A host of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ResourceHost {
    /// The host name in lower case; `*.` at the front matches exactly one label.
    pub name: String,
    /// Whether the host's TLS handshake requests a client certificate. Default: true.
    #[serde(default = "yes")]
    pub asks_for_certificate: bool,
    /// Whether the host requests the certificate as the real Key Vault does: by a renegotiation of TLS 1.2, after a
    /// request with `x-ms-tokenboundauth: true`, and not in the first handshake. Only the host of a vault can have this
    /// setting, and only a build with OpenSSL serves the host. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late_certificate: bool,
}

/// The version of the access tokens that a resource accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenVersion {
    /// Version 1.0: the issuer is `https://sts.windows.net/{tenant}/`, and the audience is as requested.
    V1,
    /// Version 2.0: the issuer is `https://{login host}/{tenant}/v2.0`, and the audience is the application id.
    #[default]
    V2,
}

/// Whether a resource accepts bound tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BoundTokens {
    /// No bound token is issued for the resource (392196).
    #[default]
    Refused,
    /// The resource accepts bound tokens and Bearer tokens.
    Allowed,
    /// The resource accepts only bound tokens. Bearer tokens are issued, but the resource refuses them.
    Required,
}

/// The form of a resource's answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ResourceStyle {
    /// The form of Microsoft Graph.
    Graph,
    /// The form of Azure Key Vault. Bound tokens need the header `x-ms-tokenboundauth: true`.
    Vault,
    /// The form of RFC 6750, with the scheme `mtls_pop`.
    #[default]
    Custom,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl World {
    /// Returns the tenant with this id or domain name. The comparison ignores case.
    pub fn tenant(&self, id_or_domain: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| {
            tenant.id.eq_ignore_ascii_case(id_or_domain)
                || tenant.domains.iter().any(|domain| domain.eq_ignore_ascii_case(id_or_domain))
        })
    }

    /// Returns the application with this client id, in any tenant. The comparison ignores case.
    pub fn application(&self, client_id: &str) -> Option<&Application> {
        self.applications.iter().find(|application| application.id.eq_ignore_ascii_case(client_id))
    }

    /// Returns the application with this client id, so that a test can change it.
    pub fn application_mut(&mut self, client_id: &str) -> Option<&mut Application> {
        self.applications.iter_mut().find(|application| application.id.eq_ignore_ascii_case(client_id))
    }

    /// Returns the managed identity with this client id. The comparison ignores case.
    pub(crate) fn managed_identity(&self, client_id: &str) -> Option<&ManagedIdentity> {
        self.managed_identities.iter().find(|identity| identity.client_id.eq_ignore_ascii_case(client_id))
    }

    /// Returns the resource that a scope names. `name` is the scope without `/.default`: the application id, or a URI
    /// with or without an additional slash at its end.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.answers_to(name))
    }
}

impl Application {
    /// Returns an application without a credential. The application exists only in its home tenant.
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
            token_binding_strength: None,
        }
    }
}

impl Machine {
    /// Returns the machine's Azure resource id.
    pub fn resource_id(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Compute/virtualMachines/{}",
            self.subscription_id, self.resource_group, self.name
        )
    }
}

impl ExternalIssuer {
    /// Returns whether the emulator fetches the issuer's keys over the network.
    pub(crate) fn is_fetched(&self) -> bool {
        self.keys.is_empty() && !self.served
    }

    /// Returns the issuer's name without a slash at the end, so that paths can be appended.
    pub(crate) fn base(&self) -> &str {
        self.issuer.trim_end_matches('/')
    }

    /// Returns the host of a served issuer, or `None` if the emulator does not serve the issuer. The issuer's name must
    /// be `https://` and a host; a path may follow.
    pub(crate) fn served_host(&self) -> Option<&str> {
        let rest = self.issuer.strip_prefix("https://").filter(|_| self.served)?;
        rest.split('/').next()
    }
}

impl Resource {
    /// Returns whether `name`, from a scope or an `aud`, names this resource.
    pub fn answers_to(&self, name: &str) -> bool {
        let bare = name.strip_suffix('/').unwrap_or(name);
        self.app_id == name || self.uris.iter().any(|uri| uri == name || uri == bare)
    }
}
