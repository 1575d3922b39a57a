//! Which identity a request means: the machine's own, or the one that it names.

use certbound_core::request::ReceivedForm;

use super::{No, Platform, no};
use crate::world::ManagedIdentity;

/// Every name that some platform has for the parameter.
const SELECTORS: [&str; 7] =
    ["client_id", "clientid", "object_id", "principalId", "mi_res_id", "msi_res_id", "resource_id"];

/// The first parameter that selects an identity elsewhere, and nothing where the names in `known` are all there is.
pub(super) fn unknown_selector(query: &ReceivedForm, known: &[&str]) -> Option<&'static str> {
    SELECTORS.into_iter().find(|name| query.has(name) && !known.contains(name))
}

impl<'e> Platform<'e> {
    /// The identity that the parameters select by one of the names in `known`; without any, the machine's own.
    ///
    /// One that is empty selects nothing, and one of another platform's is refused: passed by, it would give the
    /// machine's own token to who asked for another.
    pub(super) fn identity(
        &self,
        query: &ReceivedForm,
        known: &[&'static str],
    ) -> Result<&'e ManagedIdentity, No> {
        if let Some(name) = unknown_selector(query, known) {
            let text = format!("The query parameter '{name}' is not supported here.");
            return Err(no(400, "invalid_request", text));
        }
        let mut given = known.iter().filter(|name| query.has(name));
        let (first, more) = (given.next(), given.next());
        if more.is_some() {
            return Err(no(400, "invalid_request", "An identity is selected by one name, not by several."));
        }
        let named = |identity: &&ManagedIdentity| match first {
            Some(name) => query.value(name).is_some_and(|value| self.is_named(identity, name, value)),
            None => identity.resource_id.is_none(),
        };
        let found = self.world.managed_identities.iter().find(named);
        found.ok_or_else(|| no(400, "invalid_request", "Identity not found"))
    }

    fn is_named(&self, identity: &ManagedIdentity, name: &str, value: &str) -> bool {
        match name {
            "client_id" | "clientid" => identity.client_id.eq_ignore_ascii_case(value),
            "object_id" | "principalId" => {
                let application = self.world.application(&identity.client_id);
                let principal = application.and_then(|it| it.principals.get(&it.home_tenant));
                principal.is_some_and(|principal| principal.eq_ignore_ascii_case(value))
            }
            _ => identity.resource_id.as_ref().is_some_and(|id| id.eq_ignore_ascii_case(value)),
        }
    }
}
