//! The kinds of authority, and the path of each kind.

use std::sync::Arc;

use super::AuthorityUrlError;
use crate::shown::shown;
use crate::tenant::TenantId;

/// The kind of a token service. `Authority::parse` determines it from the URL, except for [`AuthorityKind::Oidc`].
/// `Display` writes the stable lower-case name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display)]
#[strum(serialize_all = "lowercase")]
#[non_exhaustive]
pub enum AuthorityKind {
    /// Microsoft Entra, the usual kind: `https://host/tenant`.
    Entra,
    /// A customer directory, `https://{name}.ciamlogin.com[/tenant]`.
    Ciam,
    /// Active Directory Federation Services, `https://host/adfs`.
    Adfs,
    /// The datacenter security token service, `https://host/dstsv2/tenant`.
    Dsts,
    /// Azure AD B2C, `https://host/tfp/tenant/policy`.
    B2c,
    /// Any OpenID Connect issuer. Its metadata names its endpoints. Only `Authority::oidc` makes this kind.
    Oidc,
}

impl AuthorityKind {
    /// Whether a signed assertion can use PS256 and a SHA-256 thumbprint. For the other kinds it uses RS256 and SHA-1.
    pub const fn takes_sha2_assertions(self) -> bool {
        matches!(self, Self::Entra | Self::Ciam | Self::B2c)
    }

    /// Whether two client ids or scopes that differ only in case are the same, as in Microsoft's directories. At other
    /// authorities they are different (RFC 6749, sections 1.9 and 3.3).
    pub const fn ignores_case(self) -> bool {
        matches!(self, Self::Entra | Self::Ciam | Self::B2c)
    }

    /// Whether the client requests a bound token with `token_type=mtls_pop`. An OpenID Connect issuer binds each token
    /// that it issues over mutual TLS (RFC 8705, section 3), and returns it with the token type `Bearer`.
    pub const fn speaks_mtls_pop(self) -> bool {
        !matches!(self, Self::Oidc)
    }
}

/// The path of an authority, parsed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Entra(TenantId),
    Ciam(TenantId),
    Adfs,
    Dsts(TenantId),
    B2c { tenant: TenantId, policy: Arc<str> },
    Oidc { path: Arc<str> },
}

impl Place {
    /// Parses the path of a lower-case URL. Segments that the kind does not use are dropped.
    pub(super) fn read(host: &str, path: &str) -> Result<Self, AuthorityUrlError> {
        let mut segments = path.split('/').skip(1);
        let first = segments.next().unwrap_or_default();
        let missing = |kind: AuthorityKind| AuthorityUrlError::PathRequired { host: shown(host), kind };
        let mut next = |kind| segments.next().filter(|text| !text.is_empty()).ok_or_else(|| missing(kind));
        match (host.strip_suffix(".ciamlogin.com"), first) {
            (Some(name), "") => Ok(Self::Ciam(TenantId::parse(&format!("{name}.onmicrosoft.com"))?)),
            (Some(_), tenant) => Ok(Self::Ciam(TenantId::parse(tenant)?)),
            (None, "") => Err(missing(AuthorityKind::Entra)),
            (None, "adfs") => Ok(Self::Adfs),
            // dSTS accepts `common` as a tenant.
            (None, "dstsv2") => Ok(Self::Dsts(TenantId::parse_or_common(next(AuthorityKind::Dsts)?)?)),
            (None, "tfp") => {
                let tenant = TenantId::parse(next(AuthorityKind::B2c)?)?;
                let policy = next(AuthorityKind::B2c)?;
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                if !policy.bytes().all(plain) {
                    return Err(AuthorityUrlError::Policy { shown: shown(policy) });
                }
                Ok(Self::B2c { tenant, policy: policy.into() })
            }
            (None, tenant) => Ok(Self::Entra(TenantId::parse(tenant)?)),
        }
    }

    pub(super) const fn kind(&self) -> AuthorityKind {
        match self {
            Self::Entra(_) => AuthorityKind::Entra,
            Self::Ciam(_) => AuthorityKind::Ciam,
            Self::Adfs => AuthorityKind::Adfs,
            Self::Dsts(_) => AuthorityKind::Dsts,
            Self::B2c { .. } => AuthorityKind::B2c,
            Self::Oidc { .. } => AuthorityKind::Oidc,
        }
    }

    pub(super) fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Entra(tenant) | Self::Ciam(tenant) | Self::Dsts(tenant) | Self::B2c { tenant, .. } => {
                Some(tenant)
            }
            Self::Adfs | Self::Oidc { .. } => None,
        }
    }

    /// Returns the same path for a different tenant. The result is `None` for kinds whose tenant cannot be replaced.
    pub(super) fn for_tenant(&self, tenant: TenantId) -> Option<Self> {
        match self {
            Self::Entra(_) => Some(Self::Entra(tenant)),
            Self::Ciam(_) => Some(Self::Ciam(tenant)),
            Self::Dsts(_) => Some(Self::Dsts(tenant)),
            Self::Adfs | Self::B2c { .. } | Self::Oidc { .. } => None,
        }
    }

    /// The canonical path, with `/` at both ends. The path of an OpenID issuer is kept as written.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Entra(tenant) | Self::Ciam(tenant) => format!("/{tenant}/"),
            Self::Adfs => "/adfs/".to_owned(),
            Self::Dsts(tenant) => format!("/dstsv2/{tenant}/"),
            Self::B2c { tenant, policy } => format!("/tfp/{tenant}/{policy}/"),
            Self::Oidc { path } => path.to_string(),
        }
    }

    /// The path of the token endpoint. The result is `None` for an OpenID issuer, whose metadata names the endpoint.
    pub(super) fn token_path(&self) -> Option<String> {
        match self {
            Self::Oidc { .. } => None,
            Self::Adfs => Some("/adfs/oauth2/token".to_owned()),
            other => {
                let mut path = other.path();
                path.push_str("oauth2/v2.0/token");
                Some(path)
            }
        }
    }
}
