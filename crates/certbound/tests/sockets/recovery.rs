//! The faults of the emulator that need connections cause the failures that they promise.

use std::sync::Arc;

use certbound::error::Failure;
use certbound::{Authority, Client, Cloud, Network, ResourceScope, TenantId};
use certbound_testkit::certificate_of;
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Emulator, Fault, FaultResult, World};

/// A fault of the handshake allows only the host in its condition, because no request is known.
#[tokio::test]
async fn a_fault_of_the_connection_is_its_failure_at_a_client() {
    for failure in [
        Failure::CertificateAlert,
        Failure::EndedAfterCertificate,
        Failure::NotConnected,
        Failure::ConnectionLost,
    ] {
        let faults = FaultResult::causing(failure);
        assert!(!faults.is_empty(), "{failure}");
        for fault in faults {
            // `EndedAfterCertificate` needs a new connection, so each fault has a client of its own.
            let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
            let address = "127.0.0.1:0".parse().unwrap();
            let server = Server::start(Arc::clone(&emulator), address).await.unwrap();
            let network = Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem());
            let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap());
            let builder = Client::builder(authority, builtin::APP).with_network(&network.build().unwrap());
            let client = builder.with_certificate(certificate_of(emulator.client_identity()));
            let client = client.build().unwrap();
            let host = Some("mtlsauth.microsoft.com".to_owned());
            let condition = Condition { host_suffix: host, ..Condition::any() };
            assert!(emulator.add_fault(Fault::always(condition, fault.clone())), "{fault:?}");
            let error = client.bound_token(&ResourceScope::key_vault(Cloud::Public)).await.unwrap_err();
            assert_eq!(error.failure(), Some(failure), "{fault:?}: {error}");
            server.shutdown().await;
        }
    }
}
