//! Whole flows on real connections, with keys that were generated in a token and never leave it.

use std::sync::Arc;

use bytes::Bytes;
use certbound::cache::Source;
use certbound::credential::NoCredential;
use certbound::{
    Authority, BindingCertificate, Client, ClientBuilder, Cloud, Network, Region, ResourceScope, TenantId,
};
use certbound_pkcs11::{KeySpec, TokenCertificate, TokenOptions};
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Emulator, World};

use crate::hsm::{Hsm, isolated, isolated_async};

pub(crate) const GRAPH: &str = "https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1";

/// An emulator on sockets, and a network that reaches it.
pub(crate) struct Service {
    pub(crate) emulator: Arc<Emulator>,
    pub(crate) server: Server,
    pub(crate) network: Network,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
        let server = Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let network =
            Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem()).build().unwrap();
        Self { emulator, server, network }
    }

    pub(crate) fn builder(&self, client_id: &str) -> ClientBuilder<NoCredential> {
        let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap())
            .with_region(Region::parse("westus3").unwrap());
        Client::builder(authority, client_id).with_network(&self.network)
    }

    /// Generates a key with a certificate that the emulator trusts, and opens it.
    pub(crate) fn certificate(&self, hsm: &Hsm, spec: KeySpec) -> TokenCertificate {
        hsm.certified(&self.emulator, "app", spec);
        TokenCertificate::open(hsm.uri("token=app;object=app"), TokenOptions::default()).unwrap()
    }
}

pub(crate) fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

#[test]
fn both_legs_the_direct_flow_and_a_bearer_token() {
    isolated_async(async |hsm| {
        let service = Service::start().await;
        let certificate = service.certificate(hsm, KeySpec::Rsa2048);
        let thumbprint = certificate.current().thumbprint();
        let listed = hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
        assert!(listed.contains("sensitive, always sensitive, never extractable, local"), "{listed}");

        let leg1 = service.builder(builtin::APP).with_certificate(certificate.clone()).build().unwrap();
        let leg2 = service.builder(builtin::APP).with_assertions(leg1.clone()).build().unwrap();
        let graph = leg2.resource(&ResourceScope::graph(Cloud::Public));
        assert_eq!(graph.call(get(GRAPH)).await.unwrap().status(), 200);
        let journal = service.emulator.journal();
        assert_eq!(journal.len(), 3, "{journal:#?}");
        let presented = Some(thumbprint.x5t_s256());
        assert!(journal.iter().all(|entry| entry.client_certificate == presented), "{journal:#?}");
        assert_eq!(graph.token().await.unwrap().details().source, Source::Cache);

        // The direct flow, and an assertion that the token signs.
        let vault = ResourceScope::key_vault(Cloud::Public);
        assert_eq!(leg1.bound_token(&vault).await.unwrap().binding().thumbprint(), thumbprint);
        let bearer = leg1.bearer_token(&ResourceScope::graph(Cloud::Public)).await.unwrap();
        assert_eq!(bearer.details().source, Source::Service);
        assert_eq!(hsm.count('L'), 2, "one login for the certificate, and one for the key's generation");
        service.server.shutdown().await;
    });
}

#[test]
fn an_elliptic_curve_binds_both_legs_too() {
    isolated_async(async |hsm| {
        for (spec, service) in [(KeySpec::P256, Service::start().await)] {
            let certificate = service.certificate(hsm, spec);
            let leg1 = service.builder(builtin::APP).with_certificate(certificate).build().unwrap();
            let leg2 = service.builder(builtin::APP).with_assertions(leg1).build().unwrap();
            let graph = leg2.resource(&ResourceScope::graph(Cloud::Public));
            assert_eq!(graph.call(get(GRAPH)).await.unwrap().status(), 200);
            service.server.shutdown().await;
        }
    });
}

#[test]
fn sixty_four_callers_at_once_get_tokens_of_different_tenants_and_scopes() {
    isolated_async(async |hsm| {
        let service = Service::start().await;
        let certificate = service.certificate(hsm, KeySpec::Rsa2048);
        let thumbprint = certificate.current().thumbprint();
        // Each client has its own cache and each certificate its own connections, so each caller needs a handshake.
        let callers = (0..64).map(|_| {
            let (service, own) =
                (&service, TokenCertificate::open(hsm.uri("token=app;object=app"), TokenOptions::default()));
            let client = service.builder(builtin::APP).with_certificate(own.unwrap()).build().unwrap();
            async move {
                let leg2 = service.builder(builtin::APP).with_assertions(client).build().unwrap();
                leg2.resource(&ResourceScope::graph(Cloud::Public)).call(get(GRAPH)).await
            }
        });
        for answer in futures_util::future::join_all(callers).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
        let presented = Some(thumbprint.x5t_s256());
        let journal = service.emulator.journal();
        assert_eq!(journal.len(), 64 * 3);
        assert!(journal.iter().all(|entry| entry.client_certificate == presented));
        assert!(hsm.count('S') >= 64 * 2, "{}", hsm.count('S'));
        service.server.shutdown().await;
    });
}

/// The runtime has one thread. A signature that blocked it would block the task that lets the module go on.
#[test]
fn a_slow_signature_blocks_no_task_of_the_runtime() {
    isolated(|hsm| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let service = Service::start().await;
            let certificate = service.certificate(hsm, KeySpec::Rsa2048);
            let client = service.builder(builtin::APP).with_certificate(certificate).build().unwrap();
            let graph = ResourceScope::graph(Cloud::Public);
            for bound in [true, false] {
                hsm.fault("hang-sign", true);
                let hung = hsm.count('H');
                let acquire = async {
                    match bound {
                        true => client.bound_token(&graph).await.map(drop),
                        false => client.bearer_token(&graph).await.map(drop),
                    }
                };
                let release = async {
                    while hsm.count('H') == hung {
                        tokio::task::yield_now().await;
                    }
                    hsm.fault("hang-sign", false);
                };
                let (acquired, ()) = tokio::join!(acquire, release);
                acquired.unwrap();
            }
            service.server.shutdown().await;
        });
    });
}

/// A caller that goes away while the token signs leaves nothing behind that blocks the end of the runtime.
#[test]
fn a_caller_that_is_dropped_while_the_token_signs_does_no_harm() {
    isolated(|hsm| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let service = Service::start().await;
            let certificate = service.certificate(hsm, KeySpec::Rsa2048);
            let client = service.builder(builtin::APP).with_certificate(certificate).build().unwrap();
            let graph = ResourceScope::graph(Cloud::Public);
            hsm.fault("hang-sign", true);
            let hung = hsm.count('H');
            let (dropped, scope) = (client.clone(), graph.clone());
            let acquiring = tokio::spawn(async move { dropped.bound_token(&scope).await.map(drop) });
            while hsm.count('H') == hung {
                tokio::task::yield_now().await;
            }
            acquiring.abort();
            assert!(acquiring.await.unwrap_err().is_cancelled());
            hsm.fault("hang-sign", false);
            client.bound_token(&graph).await.unwrap();
            service.server.shutdown().await;
        });
        drop(runtime);
    });
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused_as_any_other() {
    isolated_async(async |hsm| {
        let (service, other) = (Service::start().await, Service::start().await);
        let certificate = other.certificate(hsm, KeySpec::P256);
        let known: BindingCertificate = certificate.current();
        let client = service.builder(builtin::APP).with_certificate(certificate).build().unwrap();
        let error = client.bound_token(&ResourceScope::graph(Cloud::Public)).await.unwrap_err();
        assert_eq!(error.aadsts(), Some(700_027), "{error}");
        assert!(!known.is_rsa());
        service.server.shutdown().await;
        other.server.shutdown().await;
    });
}
