//! Where each kind of issuer writes who calls and what the caller may do.

use std::sync::Arc;

use certbound_core::jwt::Claims;
use serde_json::Value;

/// How the claims of one issuer are read. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// Microsoft Entra.
    Entra,
    /// Any other issuer.
    Standard {
        /// The claim that names the client, where the resource's owner named one.
        client_claim: Option<Arc<str>>,
    },
}

/// The claims that may name the client at an issuer other than Entra: RFC 9068, section 2.2; OpenID Connect Core, section 2,
/// which Keycloak and Auth0 follow; Okta. `appid` is not among them: it is Entra's.
const CLIENT_CLAIMS: [&str; 3] = ["client_id", "azp", "cid"];

/// Two claims that name different clients, or one that is not a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;

impl Reading {
    /// The client's id; none when no claim names a client. At Entra `azp` of a version 2 token and `appid` of a version 1
    /// token, of which the token's family has only one.
    pub(crate) fn client<'c>(&self, claims: &'c Claims) -> Result<Option<&'c str>, Contradiction> {
        match self {
            Self::Entra if claims.string("ver") == Some("1.0") => one(claims, &["appid"]),
            Self::Entra => one(claims, &["azp"]),
            Self::Standard { client_claim: Some(name) } => one(claims, &[&**name]),
            Self::Standard { client_claim: None } => one(claims, &CLIENT_CLAIMS),
        }
    }

    /// Whether the client is named by the claim that exists for this: `client_id` (RFC 9068, section 2.2), or the one that
    /// the resource's owner named. `azp` names the party that a token was issued to, also in tokens about somebody else.
    pub(crate) fn names_client_outright(&self, claims: &Claims) -> bool {
        match self {
            Self::Entra => true,
            Self::Standard { client_claim } => client_claim.is_some() || claims.contains("client_id"),
        }
    }

    /// The scopes: `scp` at Entra; elsewhere `scope` (RFC 9068, section 2.2.3), or `scp` where there is no `scope`. Each is a
    /// text with spaces between the scopes, or a list.
    pub(crate) fn scopes<'c>(&self, claims: &'c Claims) -> impl Iterator<Item = &'c str> + use<'c> {
        let name = match self {
            Self::Standard { .. } if claims.contains("scope") => "scope",
            _ => "scp",
        };
        let text = claims.string(name).unwrap_or_default().split_ascii_whitespace();
        let list = claims.list(name).unwrap_or_default().iter().filter_map(Value::as_str);
        text.chain(list.filter(|scope| !scope.is_empty()))
    }

    /// The application roles.
    pub(crate) fn roles<'c>(&self, claims: &'c Claims) -> impl Iterator<Item = &'c str> + use<'c> {
        claims.list("roles").unwrap_or_default().iter().filter_map(Value::as_str)
    }
}

/// The one text that these claims hold, as far as they are there.
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
