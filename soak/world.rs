//! The emulator's world. Each client has its own application, so that the journal names the client.

use certbound_emulator::World;
use certbound_emulator::world::builtin::{self, CLIENT_SUBJECT, OTHER_TENANT, TENANT};
use certbound_emulator::world::{Application, FederatedCredential, Tenant};

use crate::clock::LIFETIME;

/// The tenants whose requests have faults.
pub(crate) const FAULTY: [&str; 2] = [TENANT, OTHER_TENANT];
/// The tenant whose requests have no fault. Its clients must get each token at once.
pub(crate) const CALM: &str = "0ca10000-0000-4000-8000-000000000001";
/// The secret of every application.
pub(crate) const SECRET: &str = "a secret of the soak";

/// The soak adds this number of applications to the faulty tenants, and the same number to the calm tenant.
const APPLICATIONS: u64 = 16;
const EXCHANGE: &str = "api://AzureADTokenExchange";

/// Returns the client id of application `number` in faulty tenants.
pub(crate) fn faulty(number: u64) -> String {
    id(1, number)
}

/// Returns the client id of application `number` in the calm tenant.
pub(crate) fn calm(number: u64) -> String {
    id(2, number)
}

fn id(kind: u64, number: u64) -> String {
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}

/// Returns the built-in world with the applications of the soak and with short lifetimes.
pub(crate) fn world() -> World {
    let mut world = World::built_in();
    world.token_lifetime_seconds = Some(LIFETIME);
    world.tenants.push(Tenant { id: CALM.to_owned(), domains: vec!["calm.example".to_owned()] });
    for number in 0..APPLICATIONS {
        let mut application = application(&world, &faulty(number), TENANT, &id(3, number));
        application.principals.insert(OTHER_TENANT.to_owned(), id(4, number));
        let calm = self::application(&world, &calm(number), CALM, &id(5, number));
        world.applications.extend([application, calm]);
    }
    world
}

/// Returns an application that trusts the emulator's client certificates and its own Leg 1.
fn application(world: &World, id: &str, tenant: &str, principal: &str) -> Application {
    let mut application = Application::new(id, tenant, principal);
    application.trusted_subjects = vec![CLIENT_SUBJECT.to_owned()];
    application.secrets = vec![SECRET.to_owned()];
    application.federated_credentials = vec![FederatedCredential {
        issuer: format!("https://login.microsoftonline.com/{tenant}/v2.0"),
        subject: principal.to_owned(),
        audience: EXCHANGE.to_owned(),
        ..FederatedCredential::default()
    }];
    let roles = [
        (builtin::GRAPH, "Application.Read.All"),
        (builtin::VAULT, "Secrets.Read"),
        (builtin::ORDERS, "Orders.Read.All"),
    ];
    let known = roles.into_iter().filter_map(|(name, role)| Some((world.resource(name)?, role)));
    application.roles = known.map(|(found, role)| (found.app_id.clone(), vec![role.to_owned()])).collect();
    application
}
