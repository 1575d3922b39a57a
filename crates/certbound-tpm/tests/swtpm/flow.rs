//! Whole flows on real connections, with keys that were generated in the TPM and never leave it.

use std::sync::Arc;

use bytes::Bytes;
use certbound::cache::Source;
use certbound::credential::NoCredential;
use certbound::{
    Authority, BindingCertificate, Client, ClientBuilder, Cloud, Network, Region, ResourceScope, TenantId,
};
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Emulator, IssueOptions, World};
use certbound_tpm::{KeyHandle, KeySpec, Tpm};

use crate::swtpm::Swtpm;

const GRAPH: &str = "https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1";

/// An emulator on sockets, and a network that reaches it.
struct Service {
    emulator: Arc<Emulator>,
    server: Server,
    network: Network,
}

impl Service {
    async fn start() -> Self {
        let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
        let server = Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let network =
            Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem()).build().unwrap();
        Self { emulator, server, network }
    }

    fn builder(&self) -> ClientBuilder<NoCredential> {
        let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap())
            .with_region(Region::parse("westus3").unwrap());
        Client::builder(authority, builtin::APP).with_network(&self.network)
    }

    /// Returns a certificate that the emulator trusts, for the key at the handle.
    fn certificate(&self, tpm: &Tpm, handle: KeyHandle) -> BindingCertificate {
        let key = tpm.key(handle).unwrap();
        let options = IssueOptions::new(builtin::CLIENT_COMMON_NAME);
        let chain = self.emulator.issue_for_public_key(&options, key.public_key()).unwrap();
        BindingCertificate::from_der_and_signer(chain, key).unwrap()
    }
}

fn generated(tpm: &Tpm, handle: u32, spec: KeySpec) -> KeyHandle {
    let handle = KeyHandle::new(handle).unwrap();
    tpm.generate(handle, spec).unwrap();
    handle
}

fn get() -> http::Request<Bytes> {
    http::Request::get(GRAPH).body(Bytes::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_legs_the_direct_flow_and_a_bearer_token() {
    let (swtpm, service) = (Swtpm::start(), Service::start().await);
    let tpm = swtpm.open();
    let handle = generated(&tpm, 0x8130_0001, KeySpec::Rsa2048);
    let certificate = service.certificate(&tpm, handle);
    let thumbprint = certificate.thumbprint();

    let leg1 = service.builder().with_certificate(certificate).build().unwrap();
    let leg2 = service.builder().with_assertions(leg1.clone()).build().unwrap();
    let graph = leg2.resource(&ResourceScope::graph(Cloud::Public));
    assert_eq!(graph.call(get()).await.unwrap().status(), 200);
    let journal = service.emulator.journal();
    assert_eq!(journal.len(), 3, "{journal:#?}");
    let presented = Some(thumbprint.x5t_s256());
    assert!(journal.iter().all(|entry| entry.client_certificate == presented), "{journal:#?}");
    assert_eq!(graph.token().await.unwrap().details().source, Source::Cache);

    // The direct flow, and an assertion that the TPM signs.
    let vault = ResourceScope::key_vault(Cloud::Public);
    assert_eq!(leg1.bound_token(&vault).await.unwrap().binding().thumbprint(), thumbprint);
    let bearer = leg1.bearer_token(&ResourceScope::graph(Cloud::Public)).await.unwrap();
    assert_eq!(bearer.details().source, Source::Service);

    drop((leg1, leg2, graph, tpm));
    service.server.shutdown().await;
    let shown = swtpm.tool("tpm2_readpublic", &["-c", "0x81300001"]);
    for attribute in ["fixedtpm", "fixedparent", "sensitivedataorigin", "noda"] {
        assert!(shown.contains(attribute), "{attribute}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_elliptic_curve_binds_both_legs_too() {
    let (swtpm, service) = (Swtpm::start(), Service::start().await);
    let tpm = swtpm.open();
    for (handle, spec) in [(0x8130_0001, KeySpec::P256), (0x8130_0002, KeySpec::P384)] {
        let certificate = service.certificate(&tpm, generated(&tpm, handle, spec));
        let leg1 = service.builder().with_certificate(certificate).build().unwrap();
        let leg2 = service.builder().with_assertions(leg1).build().unwrap();
        let graph = leg2.resource(&ResourceScope::graph(Cloud::Public));
        assert_eq!(graph.call(get()).await.unwrap().status(), 200, "{spec:?}");
    }
    service.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_callers_at_once_get_their_tokens() {
    let (swtpm, service) = (Swtpm::start(), Service::start().await);
    let tpm = swtpm.open();
    let handle = generated(&tpm, 0x8130_0001, KeySpec::Rsa2048);
    // Each client has its own cache and each certificate its own connections, so each caller needs handshakes.
    let callers = (0..64).map(|_| {
        let certificate = service.certificate(&tpm, handle);
        let presented = certificate.thumbprint();
        let client = service.builder().with_certificate(certificate).build().unwrap();
        let leg2 = service.builder().with_assertions(client).build().unwrap();
        async move {
            let graph = leg2.resource(&ResourceScope::graph(Cloud::Public));
            (graph.call(get()).await, presented.x5t_s256())
        }
    });
    let mut presented = Vec::new();
    for (answer, thumbprint) in futures_util::future::join_all(callers).await {
        assert_eq!(answer.unwrap().status(), 200);
        presented.push(thumbprint);
    }
    let journal = service.emulator.journal();
    assert_eq!(journal.len(), 64 * 3);
    for thumbprint in presented {
        let own = journal.iter().filter(|entry| entry.client_certificate.as_ref() == Some(&thumbprint));
        assert_eq!(own.count(), 3, "each certificate was presented in both legs and to the resource");
    }
    service.server.shutdown().await;
}

/// The runtime has one thread. A signature that blocked it would block the task that lets the TPM go on.
#[test]
fn a_slow_signature_blocks_no_task_of_the_runtime() {
    let swtpm = Swtpm::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let service = Service::start().await;
        let tpm = swtpm.open();
        let certificate = service.certificate(&tpm, generated(&tpm, 0x8130_0001, KeySpec::Rsa2048));
        let client = service.builder().with_certificate(certificate).build().unwrap();
        let graph = ResourceScope::graph(Cloud::Public);
        for bound in [true, false] {
            swtpm.freeze();
            let acquire = async {
                match bound {
                    true => client.bound_token(&graph).await.map(drop),
                    false => client.bearer_token(&graph).await.map(drop),
                }
            };
            let release = async {
                while !swtpm.has_unread_command() {
                    tokio::task::yield_now().await;
                }
                swtpm.thaw();
            };
            let (acquired, ()) = tokio::join!(acquire, release);
            acquired.unwrap();
        }
        service.server.shutdown().await;
    });
}
