//! Our clients, connected to the server of the benchmark.

use certbound::credential::{ByAssertion, ByCertificate};
use certbound::{Authority, Client, Network, Region, TenantId};

use super::server::Server;
use super::{APP, TENANT};

/// Returns a Leg 2 with its Leg 1.
pub(crate) fn legs(server: &Server) -> Client<ByAssertion> {
    let network = network(server);
    let builder = || Client::builder(authority(), APP).with_network(&network);
    let leg1 = builder().with_certificate(server.certificate.clone()).build().unwrap();
    builder().with_assertions(leg1).build().unwrap()
}

/// Returns a client of the direct flow.
pub(crate) fn direct(server: &Server) -> Client<ByCertificate> {
    let builder = Client::builder(authority(), APP).with_network(&network(server));
    builder.with_certificate(server.certificate.clone()).build().unwrap()
}

fn authority() -> Authority {
    Authority::public(TenantId::parse(TENANT).unwrap()).with_region(Region::parse("westus3").unwrap())
}

fn network(server: &Server) -> Network {
    Network::builder()
        .proxy(format!("http://{}", server.address))
        .only_roots_pem(server.root_pem.clone())
        .build()
        .unwrap()
}
