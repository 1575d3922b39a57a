//! Who may have signed a token: Entra in a cloud for certain tenants, or another OpenID issuer.

use std::fmt;
use std::sync::Arc;

use certbound_core::environment::Cloud;
use certbound_core::jws::Algorithm;
use certbound_core::jwt::Claims;
use certbound_core::shown::shown;
use certbound_core::tenant::TenantId;

use crate::keys_host::KeysHost;
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
    /// Entra in `cloud`, for tokens of these tenants, in both token versions. RS256 is pinned.
    ///
    /// # Errors
    /// [`IssuerError`] without a tenant, and for a tenant that is not given by its id: names do not stand in tokens.
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

    /// Entra in `cloud`, for tokens of every tenant whose id satisfies `rule`.
    ///
    /// The rule is asked before the signature is checked, with an id that has the form of a GUID in lower case. A rule
    /// that is always true accepts applications of tenants that nobody here knows.
    pub fn entra_where(cloud: Cloud, rule: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Kind::Entra { cloud, tenants: Tenants::Rule(Arc::new(rule)) })
    }

    /// Another issuer of certificate-bound tokens (RFC 8705), by its `iss`, which is also where its metadata is: that of
    /// OpenID, or where there is none (404 or 410) that of RFC 8414.
    ///
    /// # Errors
    /// [`IssuerError`] when it is not an `https` URL without query, fragment and user name, or no algorithm is named.
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

    /// Lets the keys of an OpenID issuer come from another host instead of its own. Without effect on Entra.
    ///
    /// Keys come from every port of a host that is named without one, and otherwise from its port alone.
    ///
    /// # Errors
    /// [`IssuerError::KeysHost`] for anything but a host, or a host and its port.
    pub fn with_keys_at_host(mut self, host: &str) -> Result<Self, IssuerError> {
        let named = KeysHost::named(host).ok_or_else(|| IssuerError::KeysHost { found: shown(host) })?;
        if let Kind::Oidc { keys_host, .. } = &mut self.0 {
            *keys_host = Some(named);
        }
        Ok(self)
    }

    /// Reads the client's id of an OpenID issuer's tokens from this claim, and from no other. Without effect on Entra.
    ///
    /// Default: `client_id`, `azp` or `cid`, of which those that a token has must hold the same text.
    pub fn with_client_claim(mut self, name: impl Into<Arc<str>>) -> Self {
        if let Kind::Oidc { client_claim, .. } = &mut self.0 {
            *client_claim = Some(name.into());
        }
        self
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

    /// Keys are filed under this: those of a cloud are shared by its tenants.
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

    /// Whether `iss` is this issuer's. For Entra it is built from the token's own `tid`, never taken apart.
    pub(crate) fn claims(&self, issuer: &str, tenant: Option<&str>) -> bool {
        match (&self.0, tenant) {
            (Kind::Entra { cloud, .. }, Some(tenant)) => {
                is_v2(*cloud, issuer, tenant) || is_v1(*cloud, issuer, tenant)
            }
            (Kind::Entra { .. }, None) => false,
            (Kind::Oidc { issuer: own, .. }, _) => own == issuer,
        }
    }

    /// The rules that are Entra's own: tenant, version, and the claim family of the version.
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

    /// Whether a key that names its issuer may sign a token of `tenant`. `{tenantid}` stands for every tenant.
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

/// What a token's `tid` must look like before it is used to build an issuer.
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

/// `sts.windows.net` in every cloud; China has a name of its own beside it.
fn is_v1(cloud: Cloud, issuer: &str, tenant: &str) -> bool {
    let prefixes: &[&str] = match cloud {
        Cloud::China => &["https://sts.windows.net/", "https://sts.chinacloudapi.cn/"],
        _ => &["https://sts.windows.net/"],
    };
    prefixes
        .iter()
        .any(|prefix| issuer.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('/')) == Some(tenant))
}

/// What keys are filed under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IssuerId {
    Entra(Cloud),
    Oidc(String),
}

/// Why an issuer cannot be trusted as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// A tenant given by name.
    #[error("the tenant `{found}` is a name; tokens hold the tenant's id")]
    TenantName {
        /// The name.
        found: String,
    },
    /// No tenant at all.
    #[error("no tenant is named")]
    NoTenant,
    /// Not an issuer's URL.
    #[error("`{found}` is not an https URL without query, fragment and user name")]
    Malformed {
        /// What was given, shortened and escaped.
        found: String,
    },
    /// No algorithm pinned.
    #[error("no signature algorithm is named for the issuer")]
    NoAlgorithm,
    /// Not a host that keys could come from.
    #[error("`{found}` is not a host, nor a host and its port")]
    KeysHost {
        /// What was given, shortened and escaped.
        found: String,
    },
}

impl IssuerError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TenantName { .. } | Self::NoTenant => "tenant_id_required",
            Self::Malformed { .. } => "invalid_issuer",
            Self::NoAlgorithm => "algorithm_required",
            Self::KeysHost { .. } => "invalid_keys_host",
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::TenantName { .. } | Self::NoTenant => {
                "give the tenant's id, a GUID; `az account show` and the portal's overview page have it"
            }
            Self::Malformed { .. } => "write the issuer as it stands in `iss`",
            Self::NoAlgorithm => "name the algorithms that the issuer signs with, such as ES256",
            Self::KeysHost { .. } => {
                "give a host such as keys.example, or keys.example:8443, without https:// and path"
            }
        }
    }
}
