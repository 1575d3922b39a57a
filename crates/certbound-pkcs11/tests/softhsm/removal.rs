//! A token that is taken out and put back: it works again without a restart, and nothing of the old handle is used.

use std::sync::Arc;

use bytes::Bytes;
use certbound::certificate::{CertificateSource as _, SignatureScheme, Signer as _};
use certbound::clock::{Clock as _, SystemClock};
use certbound::error::TransportError;
use certbound::managed_identity::{IdentityId, MachineCertificates};
use certbound::transport::{Answer, HyperTransport, Via};
use certbound::{Cloud, ManagedIdentity, ResourceScope, Transport};
use certbound_pkcs11::{KeySpec, OpenToken, TokenKeys, TokenOptions, list_tokens};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{ManualClock, MemoryTransport};

use crate::flow::{GRAPH, Service, get};
use crate::hsm::{PSS, isolated, isolated_async};

#[test]
fn a_handle_of_an_earlier_opening_never_signs_again() {
    isolated(|hsm| {
        hsm.generate("token=app;object=key", KeySpec::Rsa2048);
        let token = OpenToken::open(hsm.uri("token=app;object=key"), TokenOptions::default()).unwrap();
        let old = token.key().unwrap();
        old.sign(PSS, b"text").unwrap();
        hsm.fault("removed", true);
        let error = old.sign(PSS, b"text").unwrap_err();
        assert!(error.is_handle_gone(), "{error}");
        assert_eq!(token.key().unwrap_err().code(), "pkcs11_token_not_found");
        hsm.fault("removed", false);
        let new = token.key().unwrap();
        new.sign(PSS, b"text").unwrap();
        let signed = hsm.count('S');
        for _ in 0..3 {
            let error = old.sign(PSS, b"text").unwrap_err();
            assert!(error.is_handle_gone(), "{error}");
        }
        assert_eq!(hsm.count('S'), signed, "the module was not called");
        let error = new.sign(SignatureScheme::EcdsaP256Sha256, b"text").unwrap_err();
        assert!(!error.is_handle_gone(), "{error}");
    });
}

/// The module may give the number of a closed session to the session of another client.
#[test]
fn all_clients_of_a_token_leave_their_sessions_when_one_of_them_notices_the_loss() {
    isolated(|hsm| {
        hsm.generate("token=app;object=key", KeySpec::Rsa2048);
        let options = || TokenOptions::default().sessions(1);
        let client = || OpenToken::open(hsm.uri("token=app;object=key"), options()).unwrap();
        let (one, two) = (client(), client());
        let (of_one, of_two) = (one.key().unwrap(), two.key().unwrap());
        of_two.sign(PSS, b"text").unwrap();
        hsm.fault("removed", true);
        assert!(of_one.sign(PSS, b"text").unwrap_err().is_handle_gone());
        hsm.fault("removed", false);
        one.key().unwrap().sign(PSS, b"text").unwrap();
        let closed = hsm.count('C');
        let error = of_two.sign(PSS, b"text").unwrap_err();
        assert!(error.is_handle_gone() && error.to_string().contains("taken out"), "{error}");
        two.key().unwrap().sign(PSS, b"text").unwrap();
        assert_eq!(hsm.count('C'), closed, "no session number of the lost opening is used");
        one.key().unwrap().sign(PSS, b"text").unwrap();
    });
}

/// The module was initialised by certbound, and another user of it in the process ends it.
#[test]
fn a_module_that_another_part_of_the_process_ended_is_initialised_again_once() {
    isolated(|hsm| {
        hsm.generate("token=app;object=key", KeySpec::Rsa2048);
        let options = || TokenOptions::default().sessions(1);
        let client = || OpenToken::open(hsm.uri("token=app;object=key"), options()).unwrap();
        let (one, two) = (client(), client());
        let (of_one, of_two) = (one.key().unwrap(), two.key().unwrap());
        of_two.sign(PSS, b"text").unwrap();
        let logins = hsm.count('L');
        hsm.fault("finalize", true);
        let error = of_one.sign(PSS, b"text").unwrap_err();
        assert!(error.is_handle_gone() && error.to_string().contains("NotInitialized"), "{error}");
        one.key().unwrap().sign(PSS, b"text").unwrap();
        let error = of_two.sign(PSS, b"text").unwrap_err();
        assert!(error.is_handle_gone() && error.to_string().contains("taken out"), "{error}");
        two.key().unwrap().sign(PSS, b"text").unwrap();
        assert_eq!((hsm.count('I'), hsm.count('L')), (2, logins + 1));
        // A tool notices it too, and the handles of the clients have ended.
        let of_one = one.key().unwrap();
        hsm.fault("finalize", true);
        assert_eq!(list_tokens(&hsm.uri("token=app")).unwrap().len(), 1);
        assert_eq!(hsm.count('I'), 3);
        assert!(of_one.sign(PSS, b"text").unwrap_err().is_handle_gone());
    });
}

/// The session of the first signature is busy, so the second signature needs a new session, which cannot be opened.
#[test]
fn a_session_that_cannot_be_opened_ends_the_opening_too() {
    isolated(|hsm| {
        hsm.generate("token=app;object=key", KeySpec::Rsa2048);
        let options = TokenOptions::default().sessions(2);
        let token = OpenToken::open(hsm.uri("token=app;object=key"), options).unwrap();
        let key = token.key().unwrap();
        hsm.fault("hang-sign", true);
        std::thread::scope(|scope| {
            let hangs = scope.spawn(|| key.sign(PSS, b"text"));
            while hsm.count('H') == 0 {
                std::thread::yield_now();
            }
            hsm.fault("removed", true);
            let error = key.sign(PSS, b"text").unwrap_err();
            assert!(error.is_handle_gone(), "{error}");
            hsm.fault("hang-sign", false);
            assert!(hangs.join().unwrap().unwrap_err().is_handle_gone());
        });
        hsm.fault("removed", false);
        assert!(key.sign(PSS, b"text").unwrap_err().to_string().contains("taken out"));
        token.key().unwrap().sign(PSS, b"text").unwrap();
    });
}

/// The key is gone, but the sessions are not, so certbound has to close them.
#[test]
fn sessions_that_the_module_keeps_are_closed() {
    isolated(|hsm| {
        hsm.generate("token=app;object=key", KeySpec::Rsa2048);
        let token = OpenToken::open(hsm.uri("token=app;object=key"), TokenOptions::default()).unwrap();
        for _ in 0..5 {
            let key = token.key().unwrap();
            key.sign(PSS, b"text").unwrap();
            hsm.fault("stale-key", true);
            assert!(key.sign(PSS, b"text").unwrap_err().is_handle_gone());
            hsm.fault("stale-key", false);
        }
        let open = hsm.count('O') - hsm.count('C');
        assert!(open <= 4, "{open} sessions are open");
    });
}

#[test]
fn an_application_goes_on_over_new_connections_after_one_more_login() {
    isolated_async(async |hsm| {
        let service = Service::start().await;
        let certificate = service.certificate(hsm, KeySpec::Rsa2048);
        let old = certificate.current();
        let leg1 = service.builder(builtin::APP).with_certificate(certificate.clone()).build().unwrap();
        let leg2 = service.builder(builtin::APP).with_assertions(leg1.clone()).build().unwrap();
        let scope = ResourceScope::parse("api://orders/.default").unwrap();
        let orders = leg2.resource(&scope);
        let url = format!("https://{}/orders", builtin::ORDERS_HOST);
        let token = leg2.bound_token(&scope).await.unwrap();
        let logins = hsm.count('L');

        hsm.fault("removed", true);
        // The connection to the token service is open, but the resource needs a new one.
        let error = orders.call(get(&url)).await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("certificate_provider_failed", true), "{error}");
        assert!(error.to_string().contains("no token"), "{error}");
        assert_eq!(certificate.current(), old);

        hsm.fault("removed", false);
        let signed = hsm.count('S');
        service.emulator.clear_journal();
        assert_eq!(orders.call(get(&url)).await.unwrap().status(), 200);
        assert_eq!(hsm.count('L'), logins + 1, "one login");
        assert_eq!(hsm.count('S'), signed + 2, "a proof of the key and one handshake");
        assert_eq!(service.emulator.journal().len(), 1, "the cached token is used with the new handle");
        // The old handle's connection to the token service is still open, and is not used.
        let renewed = leg2.bound_token(&scope).force_refresh().await.unwrap();
        assert!(hsm.count('S') > signed + 2, "a handshake of the new handle");
        assert_eq!(renewed.binding().thumbprint(), token.binding().thumbprint());
        assert!(certificate.reopened(&old).is_some());
        // The token that the program kept has the old handle.
        let error = token.resource().call(get(&url)).await.unwrap_err();
        assert!(
            matches!(error, certbound::Error::Transport { cause: TransportError::Signer { .. }, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("taken out"), "{error}");

        // The loss is noticed by the other users of the key too: an assertion that it signs, Leg 1 alone, and both legs.
        for user in 0..3 {
            hsm.fault("removed", true);
            OpenToken::open(hsm.uri("token=app"), TokenOptions::default()).unwrap_err();
            hsm.fault("removed", false);
            let graph = ResourceScope::graph(Cloud::Public);
            match user {
                0 => drop(leg1.bearer_token(&graph).force_refresh().await.unwrap()),
                1 => drop(leg1.assertion().await.unwrap()),
                _ => assert_eq!(leg2.resource(&graph).call(get(GRAPH)).await.unwrap().status(), 200),
            }
        }
        service.server.shutdown().await;
    });
}

/// The metadata service of the emulated machine in memory, and everything else on sockets.
struct Beside {
    machine: MemoryTransport,
    network: Arc<HyperTransport>,
}

impl Transport for Beside {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        match via {
            Via::Local => self.machine.send(request, via).await,
            _ => self.network.send(request, via).await,
        }
    }
}

#[test]
fn a_machine_goes_on_with_its_certificate_when_the_token_is_back() {
    isolated_async(async |hsm| {
        let service = Service::start().await;
        let now = SystemClock::new().now();
        let machine = MemoryTransport::new(Arc::clone(&service.emulator), ManualClock::at(now));
        let transport = Beside { machine, network: service.network.transport() };
        let keys = TokenKeys::open(hsm.uri("token=app;object=machine"), TokenOptions::default()).unwrap();
        let identity = ManagedIdentity::builder(IdentityId::System)
            .with_environment(|_| None)
            .with_transport(transport)
            .with_certificates(MachineCertificates::new())
            .with_keys(keys)
            .build()
            .unwrap();
        let scope = ResourceScope::graph(Cloud::Public);
        let graph = identity.resource(&scope);
        let before = graph.token().await.unwrap();
        assert_eq!(hsm.count('S'), 3, "the probe, the request for the certificate, and one handshake");

        hsm.fault("removed", true);
        // The text depends on the session that a thread has: the module reports the removal, or finds no token.
        let error = graph.call(get(GRAPH)).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.code(), "cryptographic_error", "{error}");
        assert!(text.contains("DeviceRemoved") || text.contains("no token"), "{error}");
        hsm.fault("removed", false);
        assert_eq!(graph.call(get(GRAPH)).await.unwrap().status(), 200);
        let after = graph.token().await.unwrap();
        assert_eq!(after.binding().thumbprint(), before.binding().thumbprint(), "the same certificate");
        let listed = hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
        assert_eq!(listed.matches("Private Key").count(), 1, "{listed}");

        // Leg 1 of an application.
        hsm.fault("removed", true);
        let leg2 = service.builder(builtin::TARGET_APP).with_assertions(identity.clone()).build().unwrap();
        // The first request can use the open connection of the new handle, or needs a new one.
        let _ = leg2.bound_token(&scope).await;
        hsm.fault("removed", false);
        leg2.bound_token(&scope).force_refresh().await.unwrap();
        service.server.shutdown().await;
    });
}
