//! The errors of reading an authority.

use super::AuthorityKind;
use crate::tenant::TenantError;
use strum::EnumProperty as _;

/// The reason why a string is not an authority URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum AuthorityUrlError {
    /// The text is not an absolute URL with a plain host name, or a URL parser would change it.
    #[error(
        "`{shown}` is not the URL of an authority: it has no plain host name, or it is not in the normal form of a URL"
    )]
    #[strum(props(code = "authority_invalid"))]
    #[strum(props(
        fix = "write the authority as https://host/tenant, for example https://login.microsoftonline.com/contoso.com"
    ))]
    Malformed {
        /// The start of the text, escaped, without query and fragment. The value is `***` for a text with an `@`.
        shown: String,
    },
    /// The scheme is not `https`.
    #[error("the authority's scheme is `{scheme}`, but credentials are sent over `https` only")]
    #[strum(props(code = "authority_not_https", fix = "begin the authority with https://"))]
    NotHttps {
        /// The scheme, escaped.
        scheme: String,
    },
    /// The URL has a part that an authority must not have. The part is not shown, because it may be secret.
    #[error("the authority URL has {part}, which is not allowed in an authority")]
    #[strum(props(code = "authority_invalid"))]
    #[strum(props(
        fix = "write the authority as https://host/tenant, for example https://login.microsoftonline.com/contoso.com"
    ))]
    ExtraPart {
        /// The name of the part.
        part: &'static str,
    },
    /// The path ends before the tenant or the policy that this kind of authority needs.
    #[error(
        "the authority on `{host}` is of the kind {kind}, and its path is too short: a tenant or policy is missing"
    )]
    #[strum(props(code = "authority_path_required"))]
    #[strum(props(fix = "add the tenant to the authority: https://host/tenant"))]
    PathRequired {
        /// The host, escaped.
        host: String,
        /// The kind of the authority.
        kind: AuthorityKind,
    },
    /// The path segment of the policy is not the name of a B2C policy.
    #[error("`{shown}` is not the name of a B2C policy")]
    #[strum(props(code = "authority_policy_invalid"))]
    #[strum(props(fix = "write https://host/tfp/tenant/policy, with a policy such as b2c_1_signin"))]
    Policy {
        /// The start of the segment, escaped.
        shown: String,
    },
    /// The path segment of the tenant is not a tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
}

impl AuthorityUrlError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tenant(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::PathRequired { kind: AuthorityKind::Dsts, .. } => "write https://host/dstsv2/tenant",
            Self::PathRequired { kind: AuthorityKind::B2c, .. } => "write https://host/tfp/tenant/policy",
            Self::Tenant(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }
}
