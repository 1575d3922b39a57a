//! The stage of the demo: an emulator on real sockets, a network that reaches it, and two certificates.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use certbound::{BindingCertificate, Network};
use certbound_emulator::serve::Server;
use certbound_emulator::{Emulator, Fault, IssueOptions, World};

use super::evidence::{Outcome, Scene};

pub(super) struct Stage {
    emulator: Arc<Emulator>,
    server: Server,
    /// The network: it reaches the emulator through its proxy and trusts only its authority.
    pub(super) network: Network,
    /// C, the binding certificate.
    pub(super) certificate: BindingCertificate,
    /// Another certificate, which the service trusts too.
    pub(super) other: BindingCertificate,
}

impl Stage {
    pub(super) async fn set(faults: &[Fault]) -> Result<Self, String> {
        let emulator = Arc::new(Emulator::new(World::built_in()).map_err(|error| error.to_string())?);
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(Arc::clone(&emulator), listen).await.map_err(|error| error.to_string())?;
        let network = Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem());
        let network = network.build().map_err(|error| error.to_string())?;
        let certificate = load(&emulator.client_identity().bundle_pem())?;
        let other = emulator.issue_client_certificate(&IssueOptions::new("certbound-demo-other"));
        let other = load(&other.map_err(|error| error.to_string())?.bundle_pem())?;
        for fault in faults {
            if !emulator.add_fault(fault.clone()) {
                return Err("there are too many faults".to_owned());
            }
        }
        Ok(Self { emulator, server, network, certificate, other })
    }

    /// Runs one scene and takes its journal.
    pub(super) async fn scene<T>(&self, scene: impl Future<Output = Outcome<T>>) -> Scene<T> {
        self.emulator.clear_journal();
        let outcome = scene.await;
        Scene { outcome, journal: self.emulator.journal() }
    }

    /// Returns the URL of the emulated machine's metadata service.
    pub(super) fn metadata_service(&self) -> String {
        self.server.metadata_url()
    }

    /// Returns the URL of the emulator's proxy, which leads to all other hosts.
    pub(super) fn proxy(&self) -> String {
        self.server.proxy_url()
    }

    /// Stops the emulator.
    pub(super) async fn strike(self) {
        self.server.shutdown().await;
    }
}

fn load(pem: &str) -> Result<BindingCertificate, String> {
    BindingCertificate::from_pem(pem.as_bytes()).map_err(|error| error.to_string())
}
