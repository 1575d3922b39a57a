//! The issuers that may sign a token: Entra in a cloud for certain tenants, or another OpenID issuer.

mod error;
mod key_set;
mod keys_host;

use std::fmt;
use std::sync::Arc;

use certbound_core::environment::Cloud;
use certbound_core::jws::Algorithm;
use certbound_core::jwt::Claims;
use certbound_core::shown::shown;
use certbound_core::tenant::TenantId;

pub use self::error::IssuerError;
pub use self::key_set::{KeySet, KeySetError};
pub(crate) use self::keys_host::KeysHost;
use crate::reading::Reading;
use crate::refusal::Refusal;

/// A trusted issuer, and for Entra the tenants whose tokens are accepted.
///
/// ```
/// use certbound_verifier::{Algorithm, Cloud, Issuer, TenantId};
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
    /// Returns Entra in `cloud` as the issuer of these tenants, in both token versions. RS256 is the only accepted
    /// algorithm.
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

    /// Returns Entra in `cloud` as the issuer of every tenant for whose id `rule` returns true.
    ///
    /// The verifier calls `rule` with a GUID in lower case, before it checks the signature. A rule that is always true
    /// accepts applications of unknown tenants.
    pub fn entra_where(cloud: Cloud, rule: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Kind::Entra { cloud, tenants: Tenants::Rule(Arc::new(rule)) })
    }

    /// Returns an issuer other than Entra that issues certificate-bound tokens (RFC 8705). `issuer` is the `iss` of its
    /// tokens. The verifier fetches its OpenID metadata from the well-known path under this URL, or the metadata of RFC
    /// 8414 if the response for OpenID is 404 or 410.
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

    /// Sets the host from which the keys of an OpenID issuer are accepted, instead of the issuer's own host. This
    /// setting has no effect on Entra.
    ///
    /// If `host` has no port, the verifier accepts keys from every port of the host. Otherwise it accepts keys from
    /// this port only.
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

    /// Sets the only claim from which the client id of an OpenID issuer's token is read. This setting has no effect on
    /// Entra.
    ///
    /// By default the verifier reads `client_id`, `azp` and `cid`. If a token has several of these claims, the claims
    /// must have the same value.
    ///
    /// # Errors
    /// [`IssuerError::ClientClaim`] for an empty name and for `sub`. In a token of a user `sub` names the user, so
    /// every user would count as a client.
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

    /// The name under which the keys are stored. For Entra it is the login host, because all tenants of a cloud share
    /// its keys. For other issuers it is a URL.
    pub(crate) fn id(&self) -> &str {
        match &self.0 {
            Kind::Entra { cloud, .. } => cloud.login_host(),
            Kind::Oidc { issuer, .. } => issuer,
        }
    }

    /// Whether `iss` belongs to this issuer. For Entra, `iss` must be a value that is built from the token's own `tid`.
    pub(crate) fn claims(&self, issuer: &str, tenant: Option<&str>) -> bool {
        match (&self.0, tenant) {
            (Kind::Entra { cloud, .. }, Some(tenant)) => {
                is_v2(*cloud, issuer, tenant) || is_v1(*cloud, issuer, tenant)
            }
            (Kind::Entra { .. }, None) => false,
            (Kind::Oidc { issuer: own, .. }, _) => own == issuer,
        }
    }

    /// Whether the issuer accepts tokens of this tenant. An OpenID issuer has no tenants.
    pub(crate) fn accepts_tenant(&self, tenant: &str) -> bool {
        match &self.0 {
            Kind::Entra { tenants: Tenants::Listed(ids), .. } => {
                ids.binary_search_by(|id| id.as_str().cmp(tenant)).is_ok()
            }
            Kind::Entra { tenants: Tenants::Rule(rule), .. } => rule(tenant),
            Kind::Oidc { .. } => true,
        }
    }

    /// Checks the tenant of a remembered token again, if a function decides about tenants: its decision can change.
    pub(crate) fn check_rule(&self, claims: &Claims) -> Result<(), Refusal> {
        match &self.0 {
            Kind::Entra { tenants: Tenants::Rule(_), .. } => self.check_tenant(claims),
            _ => Ok(()),
        }
    }

    fn check_tenant(&self, claims: &Claims) -> Result<(), Refusal> {
        let tenant = claims.string("tid").unwrap_or_default();
        if self.accepts_tenant(tenant) {
            return Ok(());
        }
        Err(Refusal::TenantNotAllowed { found: shown(tenant) })
    }

    /// Checks the rules of Entra: the tenant, the version, and the claims of that version.
    pub(crate) fn check_family(&self, claims: &Claims) -> Result<(), Refusal> {
        let Kind::Entra { cloud, .. } = &self.0 else { return Ok(()) };
        let (issuer, tenant) =
            (claims.string("iss").unwrap_or_default(), claims.string("tid").unwrap_or_default());
        self.check_tenant(claims)?;
        let has = |name: &str| claims.contains(name);
        let right = match claims.string("ver") {
            Some("1.0") => is_v1(*cloud, issuer, tenant) && has("appid") && !has("azp"),
            Some("2.0") => is_v2(*cloud, issuer, tenant) && has("azp") && !has("appid"),
            _ => false,
        };
        if right { Ok(()) } else { Err(Refusal::VersionMismatch) }
    }

    /// Whether a key with this `issuer` member may sign a token of `tenant`. `{tenantid}` matches every tenant.
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

/// Returns a token's `tid` if it is a GUID in lower case. Only a `tid` of this form may be used to build an issuer.
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

/// Whether `issuer` is the issuer of version 1 tokens: `sts.windows.net` in every cloud, and in China also China's own
/// host.
fn is_v1(cloud: Cloud, issuer: &str, tenant: &str) -> bool {
    let prefixes: &[&str] = match cloud {
        Cloud::China => &["https://sts.windows.net/", "https://sts.chinacloudapi.cn/"],
        _ => &["https://sts.windows.net/"],
    };
    prefixes
        .iter()
        .any(|prefix| issuer.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('/')) == Some(tenant))
}
