//! The stage of the demo: an emulator on real sockets, and the parts that the scenes share.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use certbound::credential::ByCertificate;
use certbound::{Authority, BindingCertificate, Client, Network, Region, TenantId};
use certbound_emulator::serve::Server;
use certbound_emulator::world::builtin::{APP, TENANT};
use certbound_emulator::{Emulator, Fault, IssueOptions, World};

use super::facts::Fallible;
use super::tamper::{Tamper, Tampered};

/// The region of the demo, in Azure's spelling.
const REGION: &str = "westus3";

pub(super) struct Stage {
    pub(super) emulator: Arc<Emulator>,
    pub(super) server: Server,
    /// The transport reaches the emulator through the emulator's proxy, and trusts only the emulator's CA.
    pub(super) transport: Tampered,
    pub(super) authority: Authority,
    /// Leg 1 of the application, with the certificate C.
    pub(super) leg1: Client<ByCertificate>,
    /// C, the binding certificate.
    pub(super) c: BindingCertificate,
}

impl Stage {
    pub(super) async fn set(faults: &[Fault], tamper: Tamper) -> Fallible<Self> {
        let emulator = Arc::new(Emulator::new(World::built_in())?);
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(Arc::clone(&emulator), listen).await?;
        let network = Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem());
        let other = emulator.issue_client_certificate(&IssueOptions::new("certbound-demo-other"))?;
        let other = BindingCertificate::from_pem(other.bundle_pem().as_bytes())?;
        let inner = network.build()?.transport();
        let transport = Tampered { inner, with: tamper, other };
        let c = BindingCertificate::from_pem(emulator.client_identity().bundle_pem().as_bytes())?;
        let authority = Authority::public(TenantId::parse(TENANT)?).with_region(Region::parse(REGION)?);
        let leg1 = Client::builder(authority.clone(), APP).with_certificate(c);
        let leg1 = leg1.with_transport(transport.clone()).build()?;
        for fault in faults {
            if !emulator.add_fault(fault.clone()) {
                return Err("there are too many faults".into());
            }
        }
        let c = leg1.binding().clone();
        Ok(Self { emulator, server, transport, authority, leg1, c })
    }
}
