//! Our client, joined to the measuring server.

use certbound::{Authority, ByAssertion, Client, Network, Region, TenantId, TokenCache};

use super::server::Server;
use super::{APP, TENANT};

/// Leg 2 with its Leg 1, and the one cache of both.
pub(crate) fn legs(server: &Server) -> (Client<ByAssertion>, TokenCache) {
    let network = Network::builder()
        .proxy(format!("http://{}", server.address))
        .only_roots_pem(server.root_pem.clone())
        .build()
        .unwrap();
    let authority =
        Authority::public(TenantId::parse(TENANT).unwrap()).with_region(Region::parse("westus3").unwrap());
    let cache = TokenCache::new();
    let builder = || Client::builder(authority.clone(), APP).with_network(&network).with_cache(cache.clone());
    let leg1 = builder().with_certificate(server.certificate.clone()).build().unwrap();
    let leg2 = builder().with_assertions(leg1).build().unwrap();
    (leg2, cache)
}
