//! The scope of a token: the scope of a resource, which the caller gives, or the exchange scope of a cloud.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use strum::EnumProperty as _;

use crate::environment::{Cloud, NoExchangeAudience, exchange_uris};

const DEFAULT_SUFFIX: &str = "/.default";
const MAX_LENGTH: usize = 1024;

/// The scope of a request for a resource's token. In Entra's client-credentials flow it is `{resource}/.default`. In a
/// user flow, and at other authorities, it can be several scopes.
///
/// The type does not check whether the resource exists or accepts bound tokens; the token service checks both. The
/// scope is never the token-exchange audience: Leg 1 derives that scope from the cloud ([`ExchangeScope`]).
///
/// ```
/// use certbound_core::scope::ResourceScope;
///
/// let vault = ResourceScope::parse("https://vault.azure.net/.default")?;
/// assert_eq!(vault.resource(), "https://vault.azure.net");
/// assert!(ResourceScope::parse("api://AzureADTokenExchange/.default").is_err());
/// # Ok::<(), certbound_core::scope::ScopeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceScope {
    text: Arc<str>,
    set: ScopeSet,
}

/// A set of scopes: each scope once, in byte order, joined by spaces. Requests for the same scopes have equal sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopeSet(Arc<str>);

impl ScopeSet {
    /// All scopes of the set, joined by spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The resource, if the set has one scope: the scope without `/.default`.
    pub fn resource(&self) -> &str {
        self.0.strip_suffix(DEFAULT_SUFFIX).unwrap_or(&self.0)
    }
}

impl ResourceScope {
    fn of(text: Arc<str>) -> Self {
        let scopes: BTreeSet<&str> = text.split(' ').collect();
        let mut set = String::with_capacity(text.len());
        for scope in scopes {
            if !set.is_empty() {
                set.push(' ');
            }
            set.push_str(scope);
        }
        let set = if *set == *text { Arc::clone(&text) } else { set.into() };
        Self { text, set: ScopeSet(set) }
    }

    /// Parses `{resource}/.default`.
    ///
    /// # Errors
    /// [`ScopeError`] if the text is empty, longer than 1024 bytes, or has a forbidden character. The text must have
    /// exactly one scope, which ends in `/.default` and is not the audience of the token exchange in any cloud.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        if text.is_empty() {
            return Err(ScopeError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(ScopeError::TooLong { length: text.len() });
        }
        if text.split_ascii_whitespace().nth(1).is_some() {
            return Err(ScopeError::Several);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
            return Err(ScopeError::Malformed { scope: text.escape_debug().take(64).collect() });
        }
        let Some(resource) = text.strip_suffix(DEFAULT_SUFFIX).filter(|resource| !resource.is_empty()) else {
            return Err(ScopeError::NotDefault { scope: text.chars().take(64).collect() });
        };
        if is_exchange_audience(resource) {
            return Err(ScopeError::ExchangeAudience);
        }
        Ok(Self::of(text.into()))
    }

    /// Parses the scopes of an authority other than Entra: one or more scopes, separated by spaces.
    ///
    /// Entra's client-credentials flow accepts only one scope of the form `{resource}/.default`. Use
    /// [`ResourceScope::parse`] for that flow.
    ///
    /// # Errors
    /// [`ScopeError`] if the text is empty, longer than 1024 bytes or malformed, or has the audience of the token
    /// exchange.
    pub fn of_other_authority(text: &str) -> Result<Self, ScopeError> {
        let scopes: Vec<&str> = text.split(' ').filter(|scope| !scope.is_empty()).collect();
        let joined = scopes.join(" ");
        if joined.is_empty() {
            return Err(ScopeError::Empty);
        }
        if joined.len() > MAX_LENGTH {
            return Err(ScopeError::TooLong { length: joined.len() });
        }
        let allowed = |byte: u8| (byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') || byte == b' ';
        if !joined.bytes().all(allowed) {
            return Err(ScopeError::Malformed { scope: text.escape_debug().take(64).collect() });
        }
        if scopes
            .iter()
            .any(|scope| is_exchange_audience(scope.strip_suffix(DEFAULT_SUFFIX).unwrap_or(scope)))
        {
            return Err(ScopeError::ExchangeAudience);
        }
        Ok(Self::of(joined.into()))
    }

    /// Parses the scopes of a user's token. The function adds the scopes that every user flow requests, and sorts all
    /// scopes alphabetically. Scopes that differ only in case are all kept (RFC 6749, section 3.3).
    ///
    /// # Errors
    /// The errors of [`ResourceScope::of_other_authority`].
    pub fn for_user(text: &str) -> Result<Self, ScopeError> {
        let asked = Self::of_other_authority(text)?;
        let mut scopes: Vec<&str> = asked.text.split(' ').chain(RESERVED).collect();
        scopes.sort_by_key(|scope| (scope.to_ascii_lowercase(), *scope));
        scopes.dedup();
        Ok(Self::of(scopes.join(" ").into()))
    }

    /// Returns the scope of Microsoft Graph in `cloud`.
    pub fn graph(cloud: Cloud) -> Self {
        Self::of_resource(cloud.graph_uri())
    }

    /// Returns the scope of Key Vault in `cloud`.
    pub fn key_vault(cloud: Cloud) -> Self {
        Self::of_resource(cloud.vault_uri())
    }

    fn of_resource(resource: &str) -> Self {
        Self::of(format!("{resource}{DEFAULT_SUFFIX}").into())
    }

    /// The whole scope, as sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scopes as a set. The set does not depend on the order of the scopes or on repetitions.
    pub fn as_set(&self) -> &ScopeSet {
        &self.set
    }

    /// The resource, if there is one scope: the scope without `/.default`.
    pub fn resource(&self) -> &str {
        self.text.strip_suffix(DEFAULT_SUFFIX).unwrap_or(&self.text)
    }
}

impl fmt::Display for ResourceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The scope of Leg 1: the token-exchange audience of a cloud. It is derived from the cloud and never parsed.
///
/// ```
/// use certbound_core::{environment::Cloud, scope::ExchangeScope};
///
/// assert_eq!(ExchangeScope::of(Cloud::Public)?.as_str(), "api://AzureADTokenExchange/.default");
/// assert!(ExchangeScope::of(Cloud::GermanyLegacy).is_err());
/// # Ok::<(), certbound_core::environment::NoExchangeAudience>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeScope(Arc<str>);

impl ExchangeScope {
    /// Returns the exchange scope of `cloud`.
    ///
    /// # Errors
    /// [`NoExchangeAudience::Cloud`], if the cloud has no token exchange.
    pub fn of(cloud: Cloud) -> Result<Self, NoExchangeAudience> {
        let uri = cloud.exchange_uri().ok_or(NoExchangeAudience::Cloud { cloud })?;
        Ok(Self([uri, DEFAULT_SUFFIX].concat().into()))
    }

    /// Returns the exchange scope of the cloud of a token endpoint's host. The host may be in its ordinary, regional or
    /// mutual-TLS form.
    ///
    /// # Errors
    /// [`NoExchangeAudience`], if the cloud has no token exchange, or if no known cloud has the host.
    pub fn at_host(host: &str) -> Result<Self, NoExchangeAudience> {
        let unknown = || NoExchangeAudience::UnknownHost { host: host.to_owned() };
        Self::of(Cloud::of_host(host).ok_or_else(unknown)?)
    }

    /// The whole scope, as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `granted` (the scopes of a response) contains each scope of `asked` that must be granted. Scopes with and
/// without `/.default` are the same, because the response of a managed identity has the resource without `/.default`.
/// If the authority [ignores case](crate::authority::AuthorityKind::ignores_case), a scope is the same in upper and
/// lower case.
///
/// In a user flow, two kinds of scopes need not be granted: the scopes that every user flow requests, and the scopes
/// that end in `/.default`. The response names the permissions that `/.default` represents.
pub fn covers(granted: &[String], asked: &str, ignores_case: bool) -> bool {
    let bare = |scope| str::strip_suffix(scope, DEFAULT_SUFFIX).unwrap_or(scope);
    let is_same = |one: &str, other: &str| match ignores_case {
        true => one.eq_ignore_ascii_case(other),
        false => one == other,
    };
    let of_a_user = RESERVED.iter().all(|reserved| asked.split(' ').any(|scope| scope == *reserved));
    asked
        .split(' ')
        .filter(|scope| !of_a_user || !(RESERVED.contains(scope) || scope.ends_with(DEFAULT_SUFFIX)))
        .all(|scope| granted.iter().any(|one| is_same(bare(one), bare(scope))))
}

/// The scopes that every user flow requests.
const RESERVED: [&str; 3] = ["offline_access", "openid", "profile"];

/// The client id of the token exchange in the public cloud. A scope can name the token exchange by this id too.
const EXCHANGE_APPLICATION: &str = "fb60f99c-7a34-4190-8149-302f77469936";

fn is_exchange_audience(resource: &str) -> bool {
    let resource = resource.trim_end_matches('/');
    let id = resource.strip_prefix("api://").unwrap_or(resource);
    if id.eq_ignore_ascii_case(EXCHANGE_APPLICATION) {
        return true;
    }
    exchange_uris().any(|uri| uri.eq_ignore_ascii_case(resource))
}

/// The reason why a text is not the scope of a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum ScopeError {
    /// The text is empty.
    #[error("the scope is empty")]
    #[strum(props(code = "scopes_required_client_credentials"))]
    Empty,
    /// The text has more than one scope.
    #[error("more than one scope was given; the client-credentials flow accepts exactly one scope")]
    #[strum(props(fix = "request one token for each resource"))]
    Several,
    /// The text is longer than 1024 bytes.
    #[error("the scope is {length} bytes long; at most {MAX_LENGTH} bytes are accepted")]
    TooLong {
        /// The length of the text in bytes.
        length: usize,
    },
    /// The text has a space, a control character, a double quote, a backslash or a character outside ASCII.
    #[error("the scope `{scope}` has a character that is not allowed in a scope")]
    Malformed {
        /// The start of the text, escaped.
        scope: String,
    },
    /// The scope does not have the form `{resource}/.default`.
    #[error("the scope `{scope}` does not end in `/.default`")]
    NotDefault {
        /// The start of the scope.
        scope: String,
    },
    /// The scope is the audience of the token exchange.
    #[error("the scope is the audience of the token exchange, which is not a resource")]
    #[strum(props(code = "exchange_scope_not_a_resource"))]
    #[strum(props(
        fix = "give the scope of the resource for Leg 2; Leg 1 (`certbound assertion`) requests the token-exchange audience itself"
    ))]
    ExchangeAudience,
}

impl ScopeError {
    /// Returns MSAL's code for the error, or certbound's own code if MSAL has no code for it.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or("invalid_scope")
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or(
            "give one scope of the form {resource}/.default, such as https://vault.azure.net/.default",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_one_resource_scope_is_refused_by_its_own_error() {
        let cases = [
            ("", "scopes_required_client_credentials"),
            ("https://vault.azure.net", "invalid_scope"),
            ("/.default", "invalid_scope"),
            ("https://a/.default https://b/.default", "invalid_scope"),
            ("https://a/.default ", "invalid_scope"),
            ("https://a\u{0}/.default", "invalid_scope"),
            ("https://\u{441}loud/.default", "invalid_scope"),
            ("api://AzureADTokenExchange/.default", "exchange_scope_not_a_resource"),
            ("API://azureadtokenexchange/.default", "exchange_scope_not_a_resource"),
            ("api://AzureADTokenExchange//.default", "exchange_scope_not_a_resource"),
            ("api://AzureADTokenExchangeUSGov/.default", "exchange_scope_not_a_resource"),
            ("api://AzureADTokenExchangeChina/.default", "exchange_scope_not_a_resource"),
            ("api://AzureADTokenExchangeFrance/.default", "exchange_scope_not_a_resource"),
            ("api://AzureADTokenExchangeGermany/.default", "exchange_scope_not_a_resource"),
            ("api://azureadtokenexchangegovsg/.default", "exchange_scope_not_a_resource"),
            ("api://AzureADTokenExchangePpe/.default", "exchange_scope_not_a_resource"),
            ("api://AzureADTokenExchangeUSNat/.default", "exchange_scope_not_a_resource"),
            ("api://AzureADTokenExchangeUSSec/.default", "exchange_scope_not_a_resource"),
            ("fb60f99c-7a34-4190-8149-302f77469936/.default", "exchange_scope_not_a_resource"),
            ("api://FB60F99C-7a34-4190-8149-302f77469936/.default", "exchange_scope_not_a_resource"),
        ];
        for (text, code) in cases {
            let error = ResourceScope::parse(text).unwrap_err();
            assert_eq!(error.code(), code, "{text:?}: {error}");
        }
    }

    #[test]
    fn two_scopes_and_too_long_a_scope_are_told_apart() {
        let several = ResourceScope::parse("https://a/.default https://b/.default");
        assert_eq!(several, Err(ScopeError::Several));
        let long = |bytes: usize| format!("{}{DEFAULT_SUFFIX}", "a".repeat(bytes - DEFAULT_SUFFIX.len()));
        assert!(ResourceScope::parse(&long(MAX_LENGTH)).is_ok());
        let length = MAX_LENGTH + 1;
        assert_eq!(ResourceScope::parse(&long(length)), Err(ScopeError::TooLong { length }));
    }

    #[test]
    fn scopes_in_any_order_are_one_set_and_are_sent_as_they_were_given() {
        let scopes = |text| ResourceScope::of_other_authority(text).unwrap();
        for text in ["a b", "b a", "b  a b", "a a b"] {
            assert_eq!(scopes(text).as_set().as_str(), "a b", "{text}");
        }
        assert_eq!((scopes("b  a b").as_str(), scopes("a a").as_set().as_str()), ("b a b", "a"));
        assert_ne!(scopes("a b").as_set(), scopes("ab").as_set());
        let one = ResourceScope::parse("https://vault.azure.net/.default").unwrap();
        assert_eq!((one.as_set().as_str(), one.as_set().resource()), (one.as_str(), one.resource()));
    }

    #[test]
    fn an_answer_covers_the_scope_with_or_without_default() {
        let named = |scope: &str| vec![scope.to_owned()];
        let vault = "https://vault.azure.net/.default";
        for ignores_case in [true, false] {
            let covers = |granted: &[String]| covers(granted, vault, ignores_case);
            assert!(covers(&named(vault)) && covers(&named("https://vault.azure.net")));
            assert!(!covers(&named("https://vault.azure.net.evil/.default")) && !covers(&[]));
        }
    }

    /// Scopes are case-sensitive (RFC 6749, section 3.3).
    #[test]
    fn scopes_that_differ_in_case_are_the_same_only_where_the_authority_ignores_it() {
        for (granted, asked, exactly) in [
            ("orders.read", "orders.read", true),
            ("Orders.Read", "orders.read", false),
            ("API://orders", "api://orders/.default", false),
        ] {
            let granted = [granted.to_owned()];
            assert!(covers(&granted, asked, true), "{asked}");
            assert_eq!(covers(&granted, asked, false), exactly, "{asked}");
        }
        let of_a_user = ResourceScope::for_user("orders.read Orders.Read orders.read openid").unwrap();
        assert_eq!(of_a_user.as_str(), "offline_access openid Orders.Read orders.read profile");
    }
}
