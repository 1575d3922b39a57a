//! The checks of a world beyond its syntax: ids have the right form, references name existing entries, and no entry
//! occurs twice.

pub(crate) mod credentials;
pub(crate) mod resources;

use std::collections::HashMap;
use std::hash::Hash;

use super::{Application, Tenant, World, WorldError, WorldMistake};

/// The maximum length of an issuer, subject, audience or URI, in characters.
pub(crate) const MAX_TEXT: usize = 600;

impl World {
    /// Checks that the world is well-formed and that all its references name existing entries.
    ///
    /// A world that passes the check can still be useless: an emulator without tenants refuses every token request.
    /// [`Emulator::new`] also accepts worlds that were not checked, for tests of unusual worlds.
    ///
    /// [`Emulator::new`]: crate::Emulator::new
    ///
    /// # Errors
    /// [`WorldError`] with all mistakes.
    pub fn check(&self) -> Result<(), WorldError> {
        let mut found = Mistakes::default();
        tenants(&self.tenants, &mut found);
        applications(self, &mut found);
        resources::check(self, &mut found);
        credentials::authorities(&self.trusted_authorities, &mut found);
        credentials::issuers(self, &mut found);
        identities(self, &mut found);
        lifetime(self, &mut found);
        WorldError::of(found.0)
    }
}

/// The mistakes that have been found.
#[derive(Default)]
struct Mistakes(Vec<WorldMistake>);

impl Mistakes {
    fn add(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.0.push(WorldMistake { at: at.into(), what: what.into() });
    }

    fn guid(&mut self, at: &str, text: &str) {
        if text.len() != 36 || uuid::Uuid::try_parse(text).is_err() {
            self.add(at, format!("'{text}' is not a GUID"));
        } else if text.contains(|c: char| c.is_ascii_uppercase()) {
            self.add(at, format!("'{text}' must be in lower case"));
        }
    }

    fn text(&mut self, at: &str, text: &str) {
        if text.is_empty() {
            self.add(at, "is empty: write a value");
        } else if text.chars().count() > MAX_TEXT {
            self.add(at, format!("is longer than {MAX_TEXT} characters: shorten it"));
        }
    }
}

/// The first position of each value. The message about a later position names the first position.
struct Seen<K>(HashMap<K, String>);

impl<K: Eq + Hash> Seen<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn once(&mut self, key: K, at: &str, found: &mut Mistakes) {
        match self.0.get(&key) {
            Some(first) => found.add(at, format!("is the same as {first}, but must occur only once")),
            None => drop(self.0.insert(key, at.to_owned())),
        }
    }
}

fn tenants(tenants: &[Tenant], found: &mut Mistakes) {
    let (mut ids, mut domains) = (Seen::new(), Seen::new());
    for (index, tenant) in tenants.iter().enumerate() {
        let at = format!("tenants[{index}].id");
        found.guid(&at, &tenant.id);
        ids.once(&tenant.id, &at, found);
        for (index, domain) in tenant.domains.iter().enumerate() {
            let at = format!("{}.domains[{index}]", at.trim_end_matches(".id"));
            if !is_host_name(domain) {
                found
                    .add(&at, format!("'{domain}' is not a domain name: write it in lower case, with a dot"));
            }
            domains.once(domain, &at, found);
        }
    }
}

fn applications(world: &World, found: &mut Mistakes) {
    let (mut ids, mut principals) = (Seen::new(), Seen::new());
    for (index, application) in world.applications.iter().enumerate() {
        let at = format!("applications[{index}]");
        found.guid(&format!("{at}.id"), &application.id);
        ids.once(&application.id, &format!("{at}.id"), found);
        tenant_exists(world, &application.home_tenant, &format!("{at}.home_tenant"), found);
        for (tenant, principal) in &application.principals {
            let at = format!("{at}.principals.{tenant}");
            tenant_exists(world, tenant, &at, found);
            found.guid(&at, principal);
            principals.once(principal, &at, found);
        }
        roles(world, application, &at, found);
        credentials::check(application, &at, found);
    }
}

fn tenant_exists(world: &World, id: &str, at: &str, found: &mut Mistakes) {
    if !world.tenants.iter().any(|tenant| tenant.id == id) {
        found.add(at, format!("there is no tenant with the id '{id}'"));
    }
}

fn roles(world: &World, application: &Application, at: &str, found: &mut Mistakes) {
    for resource in application.roles.keys() {
        if !world.resources.iter().any(|known| known.app_id == *resource) {
            found.add(
                format!("{at}.roles.{resource}"),
                format!("there is no resource with the app_id '{resource}'"),
            );
        }
    }
}

fn identities(world: &World, found: &mut Mistakes) {
    let (mut ids, mut resources) = (Seen::new(), Seen::new());
    for (index, identity) in world.managed_identities.iter().enumerate() {
        let at = format!("managed_identities[{index}]");
        ids.once(&identity.client_id, &format!("{at}.client_id"), found);
        resources.once(&identity.resource_id, &format!("{at}.resource_id"), found);
        let application = world.applications.iter().find(|known| known.id == identity.client_id);
        match application {
            None => found.add(&at, format!("there is no application with the id '{}'", identity.client_id)),
            Some(application) if !application.principals.contains_key(&application.home_tenant) => {
                found.add(&at, "its application has no principal in the home tenant: add the principal");
            }
            Some(_) => {}
        }
    }
    if world.machine.vm_id.is_empty() && world.machine.vmss_id.is_empty() {
        found.add("machine", "has neither a vm_id nor a vmss_id: write at least one of them");
    }
}

fn lifetime(world: &World, found: &mut Mistakes) {
    let shortest_to_longest = 2..=86_400;
    if world.token_lifetime_seconds.is_some_and(|seconds| !shortest_to_longest.contains(&seconds)) {
        found.add("token_lifetime_seconds", "must be at least 2 and at most 86400");
    }
}

/// Returns whether the name is a DNS name in lower case with at least two labels. The last label must not be a number,
/// because an IP address is not a name.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(is_label)
        && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests;
