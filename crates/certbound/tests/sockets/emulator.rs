//! The whole flow over sockets: CONNECT, TLS with the binding certificate, both legs, the resource.

use std::sync::Arc;

use bytes::Bytes;
use certbound::cache::Source;
use certbound::resource::CallFacts;
use certbound::{Authority, BindingCertificate, Client, Cloud, Network, Region, ResourceScope, TenantId};
use certbound_testkit::certificate_of;
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Emulator, Fault, FaultResult, LegKind, World};

use crate::signer::{Device, RSA};

#[tokio::test]
async fn both_legs_and_the_call_on_real_connections() {
    let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
    whole_flow(&emulator, certificate_of(emulator.client_identity())).await;
}

#[tokio::test]
async fn both_legs_and_the_call_with_a_key_that_stays_in_its_device() {
    let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
    let identity = emulator.client_identity();
    let device = Device::new(identity.key_pem.as_bytes(), RSA);
    let chain = identity.certificate_pem.as_bytes();
    let certificate = BindingCertificate::from_signer(chain, device.clone()).unwrap();
    whole_flow(&emulator, certificate).await;
    // The device signs once to prove the key. The legs share a TLS session if they share a host; the resource has its
    // own connection.
    assert!((3..=4).contains(&device.signed()), "{}", device.signed());
}

async fn whole_flow(emulator: &Arc<Emulator>, certificate: BindingCertificate) {
    let server = Server::start(Arc::clone(emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let network =
        Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem()).build().unwrap();
    let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap())
        .with_region(Region::parse("westus3").unwrap());

    let builder = || Client::builder(authority.clone(), builtin::APP).with_network(&network);
    let leg1 = builder().with_certificate(certificate.clone()).build().unwrap();
    let leg2 = builder().with_assertions(leg1).build().unwrap();
    let graph = leg2.resource(&ResourceScope::graph(Cloud::Public));
    let url = "https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1";
    let answer = graph.call(http::Request::get(url).body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    let facts = answer.extensions().get::<CallFacts>().unwrap().0;
    assert!(facts.certificate_requested && !facts.resumed);
    assert_eq!(facts.presented, Some(certificate.thumbprint()));

    let journal = emulator.journal();
    assert_eq!(journal.len(), 3, "{journal:#?}");
    assert!(
        journal.iter().all(|entry| entry.client_certificate == Some(certificate.thumbprint().x5t_s256()))
    );
    assert_eq!(graph.token().await.unwrap().details().source, Source::Cache);

    let elsewhere = graph.call(http::Request::get("https://example.com/").body(Bytes::new()).unwrap()).await;
    assert_eq!(elsewhere.unwrap_err().code(), "proxy_failed", "a host that is not emulated is not reached");
    server.shutdown().await;
}

/// The device signs once in each handshake, so it counts the connections.
#[tokio::test]
async fn calls_of_a_bound_resource_share_a_connection_and_each_is_decided_by_itself() {
    let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
    let server = Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let network =
        Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem()).build().unwrap();
    let identity = emulator.client_identity();
    let device = Device::new(identity.key_pem.as_bytes(), RSA);
    let chain = identity.certificate_pem.as_bytes();
    let certificate = BindingCertificate::from_signer(chain, device.clone()).unwrap();
    let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap());
    let builder = Client::builder(authority, builtin::APP).with_network(&network);
    let client = builder.with_certificate(certificate.clone()).build().unwrap();
    let orders = client.resource(&ResourceScope::parse("api://orders/.default").unwrap());
    let call = async || {
        let url = format!("https://{}/orders", builtin::ORDERS_HOST);
        orders.call(http::Request::get(url).body(Bytes::new()).unwrap()).await
    };
    call().await.unwrap();
    let signed = device.signed();
    emulator.clear_journal();

    let (one, two, three) = tokio::join!(call(), call(), call());
    for answer in [one, two, three].map(Result::unwrap) {
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        assert!(body.contains(&certificate.thumbprint().x5t_s256()), "{body}");
    }
    // The token is still valid by the client's clock.
    emulator.advance(2 * 3600);
    assert_eq!(call().await.unwrap().status(), 401);
    emulator.advance(-2 * 3600);
    assert_eq!(call().await.unwrap().status(), 200);
    assert_eq!(device.signed(), signed, "no other connection was opened");
    let thumbprint = Some(certificate.thumbprint().x5t_s256());
    let journal = emulator.journal();
    assert_eq!(journal.iter().map(|entry| entry.status).collect::<Vec<_>>(), [200, 200, 200, 401, 200]);
    assert!(journal.iter().all(|entry| entry.client_certificate == thumbprint), "{journal:#?}");

    // A reset ends the requests that are open on the same connection.
    let resource = || Condition::leg(LegKind::Resource);
    emulator.add_fault(Fault::once(resource(), FaultResult::Delay { milliseconds: 600_000 }));
    emulator.add_fault(Fault::once(resource(), FaultResult::ConnectionReset));
    let (delayed, reset) = tokio::join!(call(), call());
    for error in [delayed.unwrap_err(), reset.unwrap_err()] {
        assert!(error.is_transient(), "{error:?}");
    }
    assert_eq!(call().await.unwrap().status(), 200);
    assert_eq!(device.signed(), signed + 1);
    server.shutdown().await;
}
