//! Who may call: the kind of caller, the client, and its roles or scopes.

use certbound_core::jwt::Claims;
use certbound_core::shown::shown;

use super::Policy;
use crate::issuer::{Issuer, Kind};
use crate::refusal::Refusal;

/// Which kind of caller is accepted. Told by `idtyp` for Entra, and by `sub` and the client's id for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Callers {
    /// Applications that act for themselves. The default: bound tokens are theirs.
    #[default]
    Applications,
    /// Applications that act for a user.
    Users,
    /// Both.
    Any,
}

impl Policy {
    /// Who calls: the kind, then the client.
    pub(crate) fn check_caller(&self, issuer: &Issuer, claims: &Claims) -> Result<(), Refusal> {
        let client = client_of(claims);
        let application = match issuer.0 {
            Kind::Entra { .. } => claims.string("idtyp") == Some("app"),
            Kind::Oidc { .. } => client.is_some() && claims.string("sub") == client,
        };
        let accepted = match self.callers {
            Callers::Applications => application,
            Callers::Users => !application && claims.string("scp").or(claims.string("scope")).is_some(),
            Callers::Any => true,
        };
        if !accepted {
            return Err(Refusal::CallerKind);
        }
        let client = client.unwrap_or_default();
        match &self.clients {
            Some(clients) if !clients.contains(&client.to_ascii_lowercase()) => {
                Err(Refusal::ClientNotAllowed { found: shown(client) })
            }
            _ => Ok(()),
        }
    }

    /// One of the roles or one of the scopes, where any is required.
    pub(crate) fn check_permission(&self, claims: &Claims) -> Result<(), Refusal> {
        if self.roles.is_empty() && self.scopes.is_empty() {
            return Ok(());
        }
        let has_role = roles_of(claims).any(|role| self.roles.contains(role));
        let has_scope = scopes_of(claims).any(|scope| self.scopes.contains(scope));
        if has_role || has_scope { Ok(()) } else { Err(Refusal::NoPermission) }
    }
}

/// `azp` in version 2 tokens, `appid` in version 1, `client_id` elsewhere (RFC 9068, section 2.2).
pub(crate) fn client_of(claims: &Claims) -> Option<&str> {
    claims.string("azp").or_else(|| claims.string("appid")).or_else(|| claims.string("client_id"))
}

pub(crate) fn roles_of(claims: &Claims) -> impl Iterator<Item = &str> {
    claims.list("roles").into_iter().flatten().filter_map(|role| role.as_str())
}

pub(crate) fn scopes_of(claims: &Claims) -> impl Iterator<Item = &str> {
    claims.string("scp").or_else(|| claims.string("scope")).unwrap_or_default().split_ascii_whitespace()
}
