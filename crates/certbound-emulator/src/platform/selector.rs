//! The identity that a request selects: the machine's own identity or a named identity.

use certbound_core::request::ReceivedForm;

use super::{Platform, Rejection, reject};
use crate::world::ManagedIdentity;

/// All names that the platforms have for this parameter.
const SELECTORS: [&str; 7] =
    ["client_id", "clientid", "object_id", "principalId", "mi_res_id", "msi_res_id", "resource_id"];

/// Returns the first parameter that selects an identity on a different platform but is not in `known`.
pub(super) fn unknown_selector(query: &ReceivedForm, known: &[&str]) -> Option<&'static str> {
    SELECTORS.into_iter().find(|name| query.has(name) && !known.contains(name))
}

impl<'e> Platform<'e> {
    /// Returns the identity that a parameter in `known` selects. If the request has no parameter in `known`, returns
    /// the machine's own identity.
    ///
    /// An empty parameter and a parameter of a different platform are refused. If the platform ignored the parameter, a
    /// client would get the machine's own token instead of the selected identity's token.
    pub(super) fn identity(
        &self,
        query: &ReceivedForm,
        known: &[&'static str],
    ) -> Result<&'e ManagedIdentity, Rejection> {
        if let Some(name) = unknown_selector(query, known) {
            let text = format!("The query parameter '{name}' is not supported here.");
            return Err(reject(400, "invalid_request", text));
        }
        let mut given = known.iter().filter(|name| query.has(name));
        let (first, more) = (given.next(), given.next());
        if more.is_some() {
            return Err(reject(
                400,
                "invalid_request",
                "The request selects an identity by several parameters. Send only one of them.",
            ));
        }
        let named = |identity: &&ManagedIdentity| match first {
            Some(name) => query.value(name).is_some_and(|value| self.is_named(identity, name, value)),
            None => identity.resource_id.is_none(),
        };
        let found = self.world.managed_identities.iter().find(named);
        found.ok_or_else(|| reject(400, "invalid_request", "Identity not found"))
    }

    fn is_named(&self, identity: &ManagedIdentity, name: &str, value: &str) -> bool {
        match name {
            "client_id" | "clientid" => identity.client_id.eq_ignore_ascii_case(value),
            "object_id" | "principalId" => {
                let application = self.world.application(&identity.client_id);
                let principal = application.and_then(|it| it.principals.get(&it.home_tenant));
                principal.is_some_and(|principal| principal.eq_ignore_ascii_case(value))
            }
            "mi_res_id" | "msi_res_id" | "resource_id" => {
                identity.resource_id.as_ref().is_some_and(|id| id.eq_ignore_ascii_case(value))
            }
            _ => false,
        }
    }
}
