//! The claims in which each kind of issuer states the caller and its permissions.

use std::sync::Arc;

use certbound_core::jwt::Claims;
use serde_json::Value;

/// The way in which the verifier reads the claims of one issuer. It is cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// Microsoft Entra.
    Entra,
    /// Any other issuer.
    Standard {
        /// The configured claim that names the client.
        client_claim: Option<Arc<str>>,
    },
}

/// The claims that may name the client at an issuer other than Entra: `client_id` of RFC 9068, section 2.2; `azp` of
/// OpenID Connect Core, section 2 (Keycloak and Auth0); `cid` of Okta. `appid` is not in this list, because only Entra
/// and AD FS use it.
const CLIENT_CLAIMS: [&str; 3] = ["client_id", "azp", "cid"];

/// The error for claims that name different clients, or for a claim that is empty or not a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;

impl Reading {
    /// Returns the client id, or `None` if no claim names a client. At Entra it is `azp` of a version 2 token, or
    /// `appid` of a version 1 token.
    pub(crate) fn client<'c>(&self, claims: &'c Claims) -> Result<Option<&'c str>, Contradiction> {
        match self {
            Self::Entra if claims.string("ver") == Some("1.0") => one(claims, &["appid"]),
            Self::Entra => one(claims, &["azp"]),
            Self::Standard { client_claim: Some(name) } => one(claims, &[&**name]),
            Self::Standard { client_claim: None } => one(claims, &CLIENT_CLAIMS),
        }
    }

    /// Whether the token names the client in the claim for this purpose: `client_id` (RFC 9068, section 2.2), or the
    /// configured claim. `azp` names the party that a token was issued to, also in a token about another subject.
    pub(crate) fn names_client_outright(&self, claims: &Claims) -> bool {
        match self {
            Self::Entra => true,
            Self::Standard { client_claim } => client_claim.is_some() || claims.contains("client_id"),
        }
    }

    /// Returns the scopes: `scp` at Entra; at other issuers `scope` (RFC 9068, section 2.2.3), or `scp` if there is no
    /// `scope`. The claim is a string with spaces between the scopes, or a list.
    pub(crate) fn scopes<'c>(&self, claims: &'c Claims) -> impl Iterator<Item = &'c str> + use<'c> {
        let name = match self {
            Self::Standard { .. } if claims.contains("scope") => "scope",
            _ => "scp",
        };
        let text = claims.string(name).unwrap_or_default().split_ascii_whitespace();
        let list = claims.list(name).unwrap_or_default().iter().filter_map(Value::as_str);
        text.chain(list.filter(|scope| !scope.is_empty()))
    }

    /// Returns the application roles.
    pub(crate) fn roles<'c>(&self, claims: &'c Claims) -> impl Iterator<Item = &'c str> + use<'c> {
        claims.list("roles").unwrap_or_default().iter().filter_map(Value::as_str)
    }
}

/// Returns the value of these claims. The claims that are present must be equal strings.
fn one<'c>(claims: &'c Claims, names: &[&str]) -> Result<Option<&'c str>, Contradiction> {
    let mut found = None;
    for name in names.iter().filter(|name| claims.contains(name)) {
        let text = claims.string(name).filter(|text| !text.is_empty()).ok_or(Contradiction)?;
        if found.is_some_and(|found| found != text) {
            return Err(Contradiction);
        }
        found = Some(text);
    }
    Ok(found)
}
