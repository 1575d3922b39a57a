//! A handle of a key that will never sign again, in each step of a call of a resource: Leg 1, Leg 2 and the call itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use certbound::certificate::{Blame, CertificateSource, RotatingCertificate, SignatureScheme, Signer};
use certbound::error::{KeyError, ProviderError};
use certbound::{Authority, BindingCertificate, Client, Network, Region, Resource, ResourceScope, TenantId};
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Emulator, World};

use crate::signer::{Device, RSA};

/// The signature that proves the key when a certificate is opened.
const PROOF: usize = 1;
const MANY: usize = 1_000;

/// A handle that signs a limited number of times.
struct Handle {
    device: Device,
    left: AtomicUsize,
}

impl Signer for Handle {
    fn schemes(&self) -> &[SignatureScheme] {
        self.device.schemes()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let less = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => self.device.sign(scheme, message),
            Err(_) => Err(KeyError::handle_gone("the token was taken out")),
        }
    }
}

/// A source that opens its key anew when it is asked for a replacement. It counts how often it is asked.
struct Slot {
    emulator: Arc<Emulator>,
    current: RotatingCertificate,
    /// The number of signatures of each later handle.
    later: usize,
    asked: AtomicUsize,
}

impl Slot {
    fn new(emulator: &Arc<Emulator>, first: usize, later: usize) -> Arc<Self> {
        let current = RotatingCertificate::new(opened(emulator, first));
        Arc::new(Self { emulator: Arc::clone(emulator), current, later, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn opened(emulator: &Emulator, signatures: usize) -> BindingCertificate {
    let identity = emulator.client_identity();
    let device = Device::new(identity.key_pem.as_bytes(), RSA);
    let handle = Handle { device, left: AtomicUsize::new(signatures) };
    BindingCertificate::from_signer(identity.certificate_pem.as_bytes(), handle).unwrap()
}

impl CertificateSource for Slot {
    fn current(&self) -> BindingCertificate {
        self.current.current()
    }

    async fn replace(&self, _: &BindingCertificate, blame: Blame) -> Result<(), ProviderError> {
        assert_eq!(blame, Blame::NotSigned { is_gone: true });
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.current.rotate(opened(&self.emulator, self.later));
        Ok(())
    }
}

/// Returns a resource that is called by both legs. Their hosts differ, so each leg needs a signature of its own.
fn by_legs(network: &Network, slot: &Arc<Slot>) -> Resource {
    let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap());
    let regional = authority.clone().with_region(Region::parse("westus3").unwrap());
    let builder = |authority| Client::builder(authority, builtin::APP).with_network(network);
    let leg1 = builder(regional).with_certificate(Arc::clone(slot)).build().unwrap();
    let leg2 = builder(authority).with_assertions(leg1).build().unwrap();
    leg2.resource(&ResourceScope::parse("api://orders/.default").unwrap())
}

#[tokio::test]
async fn each_step_recovers_once_from_a_handle_that_is_gone() {
    let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
    let server = Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let network =
        Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem()).build().unwrap();
    let call =
        || http::Request::get(format!("https://{}/orders", builtin::ORDERS_HOST)).body(Bytes::new()).unwrap();
    // After a loss in Leg 2 the exchange is repeated with both legs.
    for (step, handshakes, sent) in [("Leg 1", 0, 3), ("Leg 2", 1, 4), ("the call", 2, 3)] {
        let slot = Slot::new(&emulator, PROOF + handshakes, MANY);
        emulator.clear_journal();
        let answer = by_legs(&network, &slot).call(call()).await;
        assert_eq!(answer.unwrap().status(), 200, "{step}");
        assert_eq!((slot.asked(), emulator.journal().len()), (1, sent), "{step}");

        // No later handle signs in a handshake.
        let slot = Slot::new(&emulator, PROOF + handshakes, PROOF);
        let error = by_legs(&network, &slot).call(call()).await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("cryptographic_error", true), "{step}: {error}");
        assert_eq!(slot.asked(), 1, "{step}");
    }
    server.shutdown().await;
}
