//! The region on real connections: the metadata service at its own port, and a region whose host is unreachable.

use std::sync::Arc;

use certbound::region::{RegionDetector, RegionOutcome, RegionSource};
use certbound::{Authority, Client, Cloud, Network, Region, ResourceScope, TenantId};
use certbound_testkit::certificate_of;
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Emulator, Fault, FaultResult, World};

#[tokio::test]
async fn the_region_of_the_machine_is_asked_for_without_the_proxy_and_used_by_both_legs() {
    let mut world = World::built_in();
    world.machine.location = "eastus".to_owned();
    let emulator = Arc::new(Emulator::new(world).unwrap());
    let server = Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let network =
        Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem()).build().unwrap();
    let metadata = server.metadata_url();
    let regions = RegionDetector::with_environment(move |name| {
        (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| metadata.clone())
    });
    let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap());
    let builder = || {
        Client::builder(authority.clone().with_region(Region::detect()), builtin::APP)
            .with_network(&network)
            .with_region_detector(regions.clone())
    };
    let certificate = certificate_of(emulator.client_identity());
    let leg1 = builder().with_certificate(certificate.clone()).build().unwrap();
    let leg2 = builder().with_assertions(leg1).build().unwrap();
    let vault = ResourceScope::key_vault(Cloud::Public);
    let details = leg2.bound_token(&vault).await.unwrap().details();
    let outcome = RegionOutcome::Detected { source: RegionSource::MetadataService, remembered: false };
    assert_eq!(details.region_outcome, Some(outcome));
    let hosts: Vec<_> = emulator.journal().into_iter().map(|entry| entry.host).collect();
    let regional = "eastus.mtlsauth.microsoft.com";
    assert_eq!(hosts, ["169.254.169.254", regional, regional]);

    // The region becomes unreachable. Only a client that allows the global host uses it.
    let condition = Condition { host_suffix: Some(regional.to_owned()), ..Condition::any() };
    emulator.add_fault(Fault::always(condition, FaultResult::Unreachable));
    let direct = || builder().with_network(&network_like(&server, &emulator));
    let client = direct().with_certificate(certificate.clone()).build().unwrap();
    let error = client.bound_token(&vault).await.unwrap_err();
    assert_eq!((error.code(), error.region().map(Region::as_str)), ("proxy_failed", Some("eastus")));
    let allowed = direct().global_if_region_unreachable().with_certificate(certificate).build().unwrap();
    let details = allowed.bound_token(&vault).await.unwrap().details();
    assert_eq!(details.region_outcome.unwrap().name(), "unreachable");
    assert!(details.endpoint.starts_with("https://mtlsauth.microsoft.com/"), "{}", details.endpoint);
    server.shutdown().await;
}

/// Returns a network without open connections.
fn network_like(server: &Server, emulator: &Emulator) -> Network {
    Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem()).build().unwrap()
}
