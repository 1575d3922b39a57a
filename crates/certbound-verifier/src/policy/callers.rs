//! The allowed callers: the kind of caller, the client, and its roles or scopes.

use std::collections::HashSet;

use certbound_core::jwt::Claims;
use certbound_core::shown::shown;

use super::Policy;
use super::kinds::CallerKind;
use crate::reading::Reading;
use crate::refusal::Refusal;

/// The kind of caller that is accepted.
///
/// Entra states the kind in `idtyp`. At other issuers, the verifier recognises an application's token by the forms that
/// RFC 9068, Keycloak, Auth0, Okta, Duende and OpenIddict use (`docs/verifier.md` lists these forms). The verifier
/// recognises a user's token by its scopes and by a `sub` that does not have one of these forms. A token of neither
/// kind, or a token with a form of applications and claims of a sign-in, is accepted under [`Callers::Any`] only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Callers {
    /// Applications that act for themselves. This is the default, because bound tokens are issued to applications.
    #[default]
    Applications,
    /// Applications that act for a user.
    Users,
    /// Both kinds, and tokens whose kind is not clear.
    Any,
}

/// The client ids that are accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients {
    exact: HashSet<String>,
    lower: HashSet<String>,
}

impl Clients {
    pub(crate) fn add(&mut self, id: String) {
        self.lower.insert(id.to_ascii_lowercase());
        self.exact.insert(id);
    }

    pub(crate) fn has_an_empty_one(&self) -> bool {
        self.exact.contains("")
    }

    /// Whether a client id is accepted. Entra's ids are GUIDs and may be written in upper or lower case. At other
    /// issuers, ids that differ in case are different clients (RFC 6749, section 1.9).
    fn allow(&self, reading: &Reading, id: &str) -> bool {
        match reading {
            Reading::Entra => self.lower.contains(&id.to_ascii_lowercase()),
            Reading::Standard { .. } => self.exact.contains(id),
        }
    }
}

impl Policy {
    /// Checks the kind of the caller, then the client.
    pub(crate) fn check_caller(&self, reading: &Reading, claims: &Claims) -> Result<(), Refusal> {
        let client = reading.client(claims).map_err(|_| Refusal::ClientClaims)?;
        let kind = || CallerKind::of(reading, claims, client);
        let accepted = match self.callers {
            Callers::Applications => kind() == CallerKind::Application,
            Callers::Users => kind() == CallerKind::User,
            Callers::Any => true,
        };
        if !accepted {
            return Err(Refusal::CallerKind);
        }
        let Some(clients) = &self.clients else { return Ok(()) };
        match client {
            Some(client) if clients.allow(reading, client) => Ok(()),
            Some(client) => Err(Refusal::ClientNotAllowed { found: shown(client) }),
            None => Err(Refusal::ClientNotAllowed { found: "(none)".to_owned() }),
        }
    }

    /// Checks that the token has one of the required roles or scopes. Without required roles and scopes, every token
    /// passes.
    pub(crate) fn check_permission(&self, reading: &Reading, claims: &Claims) -> Result<(), Refusal> {
        if self.roles.is_empty() && self.scopes.is_empty() {
            return Ok(());
        }
        let has_role = reading.roles(claims).any(|role| self.roles.contains(role));
        let has_scope = reading.scopes(claims).any(|scope| self.scopes.contains(scope));
        if has_role || has_scope { Ok(()) } else { Err(Refusal::NoPermission) }
    }
}
