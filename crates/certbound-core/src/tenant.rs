//! The tenant of an authority.

use std::fmt;
use std::sync::Arc;
use strum::EnumProperty as _;

use crate::shown::shown;

/// A tenant in lower case: a GUID, a DNS domain name, or `consumers`. The tenant of a dSTS authority can also be
/// `common` or `organizations`.
///
/// The type does not check that the tenant exists. [`TenantId::parse`] refuses `common` and `organizations`, because
/// exactly one directory issues a bound token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Parses a tenant, and converts it to lower case. The text is not trimmed.
    ///
    /// # Errors
    /// [`TenantError::Tenantless`] for `common` and `organizations`. [`TenantError::Malformed`] for any other text that
    /// is neither a dashed GUID, nor a domain name with at least one dot (at most 253 characters), nor `consumers`.
    pub fn parse(tenant: &str) -> Result<Self, TenantError> {
        let lower = tenant.to_ascii_lowercase();
        if matches!(lower.as_str(), "common" | "organizations") {
            return Err(TenantError::Tenantless { tenant: lower });
        }
        if lower == "consumers" || is_guid(&lower) || (lower.contains('.') && is_host_name(&lower)) {
            return Ok(Self(lower.into()));
        }
        Err(TenantError::Malformed { shown: shown(tenant) })
    }

    /// Parses a tenant for token services that accept `common` and `organizations` as tenants.
    pub(crate) fn parse_or_common(tenant: &str) -> Result<Self, TenantError> {
        match Self::parse(tenant) {
            Err(TenantError::Tenantless { tenant }) => Ok(Self(tenant.into())),
            result => result,
        }
    }

    /// The tenant in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the tenant is not the directory of one organization: `common`, `organizations`, or the tenant of
    /// personal accounts by its name or its id.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(
            self.as_str(),
            "common" | "organizations" | "consumers" | "9188040d-6c67-4c5b-b112-36a304b66dad"
        )
    }

    /// Whether the value is the tenant's id and not one of its names. Tokens contain only the id.
    pub fn is_id(&self) -> bool {
        is_guid(&self.0)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason why a string is not a tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum TenantError {
    /// The string names many tenants.
    #[error("`{tenant}` names many tenants, but a tenant of one organization is needed")]
    #[strum(props(code = "missing_tenanted_authority"))]
    Tenantless {
        /// `common` or `organizations`.
        tenant: String,
    },
    /// The string has none of the three forms of a tenant.
    #[error("`{shown}` is not a tenant: it is neither a dashed GUID, nor a domain name, nor `consumers`")]
    #[strum(props(code = "invalid_tenant"))]
    Malformed {
        /// The start of the string, escaped.
        shown: String,
    },
}

impl TenantError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        "give the tenant's id (a GUID such as 00000000-0000-0000-0000-000000000000) or one of its domain names \
         (such as contoso.onmicrosoft.com)"
    }
}

/// Whether the string is a host name in lower case: labels of letters, digits and inner hyphens (RFC 1123 section 2.1).
pub(crate) fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

pub(crate) fn is_guid(lower: &str) -> bool {
    lower.len() == 36
        && lower.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(tenant: &str) -> &'static str {
        TenantId::parse(tenant).map_or_else(|error| error.code(), |_| "accepted")
    }

    #[test]
    fn an_error_shows_no_more_than_64_characters() {
        assert_eq!(shown(&"a".repeat(64)), "a".repeat(64));
        assert_eq!(shown(&"a".repeat(65)), format!("{}...", "a".repeat(64)));
    }

    #[test]
    fn a_guid_a_domain_and_consumers_are_tenants_in_lower_case() {
        for (written, read) in [
            ("BEA21EBE-8B64-4D06-9F6D-6A889B120A7C", "bea21ebe-8b64-4d06-9f6d-6a889b120a7c"),
            ("9188040d-6c67-4c5b-b112-36a304b66dad", "9188040d-6c67-4c5b-b112-36a304b66dad"),
            ("Contoso.onMicrosoft.com", "contoso.onmicrosoft.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("Consumers", "consumers"),
        ] {
            assert_eq!(TenantId::parse(written).unwrap().as_str(), read);
        }
    }

    #[test]
    fn common_and_organizations_are_no_tenant() {
        for tenant in ["common", "COMMON", "organizations", "Organizations"] {
            assert_eq!(code(tenant), "missing_tenanted_authority", "{tenant}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("{}.com", "a".repeat(64));
        let too_long = format!("{}com", "a.".repeat(126));
        for tenant in [
            "",
            "T",
            "contoso",
            ".",
            "..",
            ".com",
            "contoso.com.",
            "contoso..com",
            "-contoso.com",
            "contoso-.com",
            "con_toso.com",
            "contoso.com/x",
            "contoso.com ",
            "contoso.com\n",
            "contoso.com?x",
            "contoso%2ecom",
            "сontoso.com",
            "bea21ebe8b644d069f6d6a889b120a7c",
            "{bea21ebe-8b64-4d06-9f6d-6a889b120a7c}",
            "bea21ebe-8b64-4d06-9f6d-6a889b120a7g",
            "bea21ebe-8b64-4d06-9f6d-6a889b120a7c\n",
            long.as_str(),
            too_long.as_str(),
        ] {
            assert_eq!(code(tenant), "invalid_tenant", "{tenant:?}");
        }
    }

    #[test]
    fn a_message_shows_little_of_the_input_and_escapes_it() {
        let message =
            TenantId::parse(&format!("\u{1b}[31m\u{202e}{}", "x".repeat(500))).unwrap_err().to_string();
        assert!(message.starts_with(r"`\u{1b}[31m\u{202e}xxx"), "{message}");
        assert!(message.is_ascii() && message.len() < 200, "{message}");
    }

    proptest! {
        #[test]
        fn a_tenant_is_one_path_segment_and_reads_back(text in "\\PC{0,50}|[a-f0-9.-]{0,40}") {
            if let Ok(tenant) = TenantId::parse(&text) {
                prop_assert!(tenant.as_str().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')));
                prop_assert_eq!(TenantId::parse(tenant.as_str()), Ok(tenant));
            }
        }
    }
}
