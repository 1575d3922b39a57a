//! The issuers that may sign a token: Entra in a cloud for certain tenants, or another OpenID issuer.

use strum::EnumProperty as _;

mod key_set;
mod keys_host;

use std::fmt;
use std::sync::Arc;

use certbound_core::environment::Cloud;
use certbound_core::jws::Algorithm;
use certbound_core::jwt::Claims;
use certbound_core::shown::shown;
use certbound_core::tenant::TenantId;

pub(crate) use self::key_set::Candidates;
pub use self::key_set::{KeySet, KeySetError};
pub(crate) use self::keys_host::KeysHost;
use crate::reading::Reading;
use crate::refusal::Refusal;

/// A trusted issuer, and for Entra the tenants whose tokens are accepted.
///
/// ```
/// use certbound_core::environment::Cloud;
/// use certbound_core::jws::Algorithm;
/// use certbound_core::tenant::TenantId;
/// use certbound_verifier::Issuer;
///
/// let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
/// let ours = Issuer::entra(Cloud::Public, [tenant])?;
/// let other = Issuer::oidc("https://idp.example", [Algorithm::Es256])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Issuer(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Entra {
        cloud: Cloud,
        tenants: Tenants,
    },
    Oidc {
        issuer: String,
        algorithms: Vec<Algorithm>,
        keys_host: Option<KeysHost>,
        client_claim: Option<Arc<str>>,
    },
}

/// The tenants of Entra whose tokens are accepted.
#[derive(Clone)]
pub(crate) enum Tenants {
    Listed(Vec<String>),
    Rule(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(ids) => f.debug_list().entries(ids).finish(),
            Self::Rule(_) => f.write_str("(by a rule)"),
        }
    }
}

impl Issuer {
    /// Entra in `cloud`, for tokens of these tenants, in both token versions. RS256 is the only accepted algorithm.
    ///
    /// # Errors
    /// [`IssuerError`] if there is no tenant, or if a tenant is given by name: tokens contain the id only.
    pub fn entra(cloud: Cloud, tenants: impl IntoIterator<Item = TenantId>) -> Result<Self, IssuerError> {
        let mut ids = Vec::new();
        for tenant in tenants {
            if !tenant.is_id() {
                return Err(IssuerError::TenantName { found: tenant.to_string() });
            }
            ids.push(tenant.as_str().to_owned());
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Err(IssuerError::NoTenant);
        }
        Ok(Self(Kind::Entra { cloud, tenants: Tenants::Listed(ids) }))
    }

    /// Entra in `cloud`, for tokens of every tenant for whose id `rule` returns true.
    ///
    /// `rule` is called before the signature is checked. It gets a GUID in lower case. A rule that is always true
    /// accepts applications of tenants that you do not know.
    pub fn entra_where(cloud: Cloud, rule: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Kind::Entra { cloud, tenants: Tenants::Rule(Arc::new(rule)) })
    }

    /// Another issuer of certificate-bound tokens (RFC 8705), by its `iss`. Its metadata is fetched from there:
    /// OpenID's, or RFC 8414's if the response for OpenID's is 404 or 410.
    ///
    /// # Errors
    /// [`IssuerError`] if the issuer is not an `https` URL without query, fragment and user name, or if there is no
    /// algorithm.
    pub fn oidc(issuer: &str, algorithms: impl IntoIterator<Item = Algorithm>) -> Result<Self, IssuerError> {
        let malformed = || IssuerError::Malformed { found: shown(issuer) };
        let url = url::Url::parse(issuer).map_err(|_| malformed())?;
        let plain = url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(malformed());
        }
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(IssuerError::NoAlgorithm);
        }
        let issuer = issuer.to_owned();
        Ok(Self(Kind::Oidc { issuer, algorithms, keys_host: None, client_claim: None }))
    }

    /// Sets another host from which the keys of an OpenID issuer are accepted, instead of its own. It has no effect on
    /// Entra.
    ///
    /// Keys are accepted from every port of a host without a port, and otherwise from its port only.
    ///
    /// # Errors
    /// [`IssuerError::KeysHost`] if `host` is neither a host nor a host and its port.
    pub fn with_keys_at_host(mut self, host: &str) -> Result<Self, IssuerError> {
        let named = KeysHost::named(host).ok_or_else(|| IssuerError::KeysHost { found: shown(host) })?;
        if let Kind::Oidc { keys_host, .. } = &mut self.0 {
            *keys_host = Some(named);
        }
        Ok(self)
    }

    /// Sets the only claim from which the client id of an OpenID issuer's token is read. It has no effect on Entra.
    ///
    /// Default: `client_id`, `azp` and `cid`. If a token has several of them, they must have the same value.
    ///
    /// # Errors
    /// [`IssuerError::ClientClaim`] for an empty name and for `sub`. In a token of a user `sub` is the user, so every user
    /// would count as a client.
    pub fn with_client_claim(mut self, name: impl Into<Arc<str>>) -> Result<Self, IssuerError> {
        let name = name.into();
        if matches!(&*name, "" | "sub") {
            return Err(IssuerError::ClientClaim { found: name.to_string() });
        }
        if let Kind::Oidc { client_claim, .. } = &mut self.0 {
            *client_claim = Some(name);
        }
        Ok(self)
    }

    pub(crate) fn reading(&self) -> Reading {
        match &self.0 {
            Kind::Entra { .. } => Reading::Entra,
            Kind::Oidc { client_claim, .. } => Reading::Standard { client_claim: client_claim.clone() },
        }
    }

    pub(crate) fn algorithms(&self) -> &[Algorithm] {
        match &self.0 {
            Kind::Entra { .. } => &[Algorithm::Rs256],
            Kind::Oidc { algorithms, .. } => algorithms,
        }
    }

    /// The name under which the keys are stored. All tenants of a cloud share its keys.
    pub(crate) fn id(&self) -> IssuerId {
        match &self.0 {
            Kind::Entra { cloud, .. } => IssuerId::Entra(*cloud),
            Kind::Oidc { issuer, .. } => IssuerId::Oidc(issuer.clone()),
        }
    }

    pub(crate) fn is(&self, id: &IssuerId) -> bool {
        match (&self.0, id) {
            (Kind::Entra { cloud, .. }, IssuerId::Entra(other)) => cloud == other,
            (Kind::Oidc { issuer, .. }, IssuerId::Oidc(other)) => issuer == other,
            _ => false,
        }
    }

    /// Whether `iss` belongs to this issuer. For Entra, it must be the value that is built from the token's own `tid`.
    pub(crate) fn claims(&self, issuer: &str, tenant: Option<&str>) -> bool {
        match (&self.0, tenant) {
            (Kind::Entra { cloud, .. }, Some(tenant)) => {
                is_v2(*cloud, issuer, tenant) || is_v1(*cloud, issuer, tenant)
            }
            (Kind::Entra { .. }, None) => false,
            (Kind::Oidc { issuer: own, .. }, _) => own == issuer,
        }
    }

    /// Checks the rules of Entra: the tenant, the version, and the claims of that version.
    pub(crate) fn check_family(&self, claims: &Claims) -> Result<(), Refusal> {
        let Kind::Entra { cloud, tenants } = &self.0 else { return Ok(()) };
        let (issuer, tenant) =
            (claims.string("iss").unwrap_or_default(), claims.string("tid").unwrap_or_default());
        let accepted = match tenants {
            Tenants::Listed(ids) => ids.binary_search_by(|id| id.as_str().cmp(tenant)).is_ok(),
            Tenants::Rule(rule) => rule(tenant),
        };
        if !accepted {
            return Err(Refusal::TenantNotAllowed { found: shown(tenant) });
        }
        let has = |name: &str| claims.contains(name);
        let right = match claims.string("ver") {
            Some("1.0") => is_v1(*cloud, issuer, tenant) && has("appid") && !has("azp"),
            Some("2.0") => is_v2(*cloud, issuer, tenant) && has("azp") && !has("appid"),
            _ => false,
        };
        if right { Ok(()) } else { Err(Refusal::VersionMismatch) }
    }

    /// Whether a key with this `issuer` member may sign a token of `tenant`. `{tenantid}` stands for every tenant.
    pub(crate) fn owns_key(&self, key_issuer: &str, tenant: Option<&str>) -> bool {
        match (&self.0, tenant) {
            (Kind::Entra { .. }, Some(tenant)) => {
                self.claims(&key_issuer.replace("{tenantid}", tenant), Some(tenant))
            }
            (Kind::Entra { .. }, None) => false,
            (Kind::Oidc { issuer, .. }, _) => issuer == key_issuer,
        }
    }
}

/// Returns a token's `tid` if it is a GUID in lower case. Only then it is used to build an issuer.
pub(crate) fn tenant_of(claims: &Claims) -> Option<&str> {
    let id = claims.string("tid")?;
    let is_lower_guid = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        });
    is_lower_guid.then_some(id)
}

fn is_v2(cloud: Cloud, issuer: &str, tenant: &str) -> bool {
    let rest = issuer.strip_prefix("https://").and_then(|rest| rest.strip_prefix(cloud.login_host()));
    rest.and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.strip_suffix("/v2.0")) == Some(tenant)
}

/// Whether `issuer` is that of version 1: `sts.windows.net` in every cloud, and in China also its own host.
fn is_v1(cloud: Cloud, issuer: &str, tenant: &str) -> bool {
    let prefixes: &[&str] = match cloud {
        Cloud::China => &["https://sts.windows.net/", "https://sts.chinacloudapi.cn/"],
        _ => &["https://sts.windows.net/"],
    };
    prefixes
        .iter()
        .any(|prefix| issuer.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('/')) == Some(tenant))
}

/// The name under which keys are stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IssuerId {
    Entra(Cloud),
    Oidc(String),
}

/// Why an issuer is not accepted as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum IssuerError {
    /// A tenant is given by name.
    #[error("the tenant `{found}` is a name; tokens contain the tenant's id")]
    #[strum(props(code = "tenant_id_required"))]
    #[strum(props(
        fix = "give the tenant's id, a GUID; `az account show` and the portal's overview page have it"
    ))]
    TenantName {
        /// The name of the tenant.
        found: String,
    },
    /// There is no tenant.
    #[error("no tenant is set")]
    #[strum(props(code = "tenant_id_required"))]
    #[strum(props(
        fix = "give the tenant's id, a GUID; `az account show` and the portal's overview page have it"
    ))]
    NoTenant,
    /// The text is not the URL of an issuer.
    #[error("`{found}` is not an https URL without query, fragment and user name")]
    #[strum(props(code = "invalid_issuer", fix = "write the issuer exactly as in `iss`"))]
    Malformed {
        /// The start of the text, escaped.
        found: String,
    },
    /// There is no algorithm.
    #[error("no signature algorithm is set for the issuer")]
    #[strum(props(code = "algorithm_required"))]
    #[strum(props(fix = "name the algorithms that the issuer signs with, such as ES256"))]
    NoAlgorithm,
    /// A claim that does not hold the client's id.
    #[error("the claim `{found}` does not hold the client's id")]
    #[strum(props(code = "invalid_client_claim"))]
    #[strum(props(
        fix = "name the claim that holds the client's id in tokens of users too; `sub` holds the user's id there"
    ))]
    ClientClaim {
        /// The name of the claim.
        found: String,
    },
    /// The text is not a host from which keys could be fetched.
    #[error("`{found}` is not a host, nor a host and its port")]
    #[strum(props(code = "invalid_keys_host"))]
    #[strum(props(
        fix = "give a host such as keys.example, or keys.example:8443, without https:// and path"
    ))]
    KeysHost {
        /// The start of the text, escaped.
        found: String,
    },
}

impl IssuerError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}
