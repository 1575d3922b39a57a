//! A key of a machine whose handle fails: a hardware token that is taken out and put back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use certbound::certificate::Blame;
use certbound::credential::{ByAssertion, Leg1 as _};
use certbound::error::KeyError;
use certbound::managed_identity::{
    IdentityId, KeyProvider, KeyStrength, MachineCertificates, MachineKey, ManagedIdentity,
};
use certbound::{Authority, BoundToken, Client, Network, Resource, ResourceScope, TenantId};
use certbound_testkit::emulator::serve::Server;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Emulator, World};

use crate::signer::{Device, RSA, read};

const GONE: Blame = Blame::NotSigned { is_gone: true };

/// A slot for a hardware token. Each insertion has a new handle of the token's key.
#[derive(Clone)]
struct Slot {
    opened: Arc<Mutex<(Device, MachineKey)>>,
    asked: Arc<AtomicUsize>,
    panics: Arc<AtomicBool>,
}

impl Slot {
    fn with(name: &str) -> Self {
        Self { opened: Arc::new(Mutex::new(opened(name))), asked: Arc::default(), panics: Arc::default() }
    }

    fn device(&self) -> Device {
        self.opened.lock().unwrap().0.clone()
    }

    fn insert(&self, name: &str) {
        *self.opened.lock().unwrap() = opened(name);
    }

    /// Returns how often the key was asked for since the last call.
    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

fn opened(name: &str) -> (Device, MachineKey) {
    let device = Device::new(&read(&format!("{name}.pkcs8.pem")), RSA);
    let key = MachineKey::new(&device.public_key(), device.clone()).unwrap();
    (device, key)
}

impl KeyProvider for Slot {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Hardware
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        // Other callers can come in between.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        assert!(!self.panics.load(Ordering::SeqCst), "the test told the provider to panic");
        Ok(self.opened.lock().unwrap().1.clone())
    }
}

/// An emulated machine behind sockets.
struct Cloud {
    emulator: Arc<Emulator>,
    server: Server,
    network: Network,
}

impl Cloud {
    async fn start() -> Self {
        let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
        let server = Server::start(Arc::clone(&emulator), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let network = Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem());
        let network = network.build().unwrap();
        Self { emulator, server, network }
    }

    fn identity(&self, slot: &Slot, certificates: &MachineCertificates) -> ManagedIdentity {
        let metadata = self.server.metadata_url();
        ManagedIdentity::builder(IdentityId::System)
            .with_network(&self.network)
            .with_environment(move |name| {
                (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| metadata.clone())
            })
            .with_certificates(certificates.clone())
            .with_keys(slot.clone())
            .build()
            .unwrap()
    }

    /// Returns the number of requests for certificates since the last call.
    fn minted(&self) -> usize {
        let journal = self.emulator.take_journal();
        journal.iter().filter(|entry| entry.path.ends_with("/issuecredential")).count()
    }
}

/// Tokens of one identity, directly or as Leg 1.
enum Tokens {
    Direct(ManagedIdentity),
    Legs(Client<ByAssertion>),
}

impl Tokens {
    fn of(cloud: &Cloud, identity: ManagedIdentity, by_legs: bool) -> Self {
        if !by_legs {
            return Self::Direct(identity);
        }
        let authority = Authority::public(TenantId::parse(builtin::TENANT).unwrap());
        let builder = Client::builder(authority, builtin::TARGET_APP).with_network(&cloud.network);
        Self::Legs(builder.with_assertions(identity).build().unwrap())
    }

    fn resource(&self, resource: &str) -> Resource {
        let scope = ResourceScope::parse(&format!("{resource}/.default")).unwrap();
        match self {
            Self::Direct(identity) => identity.resource(&scope),
            Self::Legs(client) => client.resource(&scope),
        }
    }

    async fn get(&self, resource: &str) -> Result<BoundToken, certbound::Error> {
        let scope = ResourceScope::parse(&format!("{resource}/.default")).unwrap();
        match self {
            Self::Direct(identity) => identity.bound_token(&scope).await,
            Self::Legs(client) => client.bound_token(&scope).await,
        }
    }
}

async fn call(token: &BoundToken) -> Result<u16, String> {
    let url = format!("https://{}/orders", builtin::ORDERS_HOST);
    let request = http::Request::get(url).body(Bytes::new()).unwrap();
    token
        .resource()
        .call(request)
        .await
        .map(|answer| answer.status().as_u16())
        .map_err(|it| it.code().to_owned())
}

#[tokio::test]
async fn what_was_taken_out_and_put_back_works_again_without_a_new_certificate() {
    let cloud = Cloud::start().await;
    for by_legs in [false, true] {
        let slot = Slot::with("rsa");
        let identity = cloud.identity(&slot, &MachineCertificates::new());
        let binding = identity.binding().await.unwrap();
        let tokens = Tokens::of(&cloud, identity, by_legs);
        assert_eq!(cloud.minted(), 1);
        let old = slot.device();
        old.unplug();
        slot.asked();
        // While it is out, each request is an error. No other key takes its place.
        for _ in 0..2 {
            let error = tokens.get(builtin::ORDERS).await.unwrap_err();
            assert_eq!((error.code(), error.is_transient()), ("cryptographic_error", true), "{error}");
            // Leg 2 asks again, because a Leg 1 need not ask by itself.
            assert_eq!(slot.asked(), 1 + usize::from(by_legs));
        }
        let signed = old.signed();
        slot.insert("rsa");
        let token = tokens.get(builtin::ORDERS).await.unwrap();
        assert_eq!((token.binding(), cloud.minted()), (&binding, 0), "by legs: {by_legs}");
        assert_eq!(call(&token).await, Ok(200));
        assert!(slot.device().signed() >= 2, "token service and resource");
        assert_eq!(old.signed(), signed, "the old handle signs nothing");
    }
    cloud.server.shutdown().await;
}

#[tokio::test]
async fn another_key_in_the_slot_gets_a_certificate_of_its_own() {
    let cloud = Cloud::start().await;
    for by_legs in [false, true] {
        let slot = Slot::with("rsa");
        let identity = cloud.identity(&slot, &MachineCertificates::new());
        let binding = identity.binding().await.unwrap();
        let tokens = Tokens::of(&cloud, identity, by_legs);
        slot.device().unplug();
        slot.insert("other");
        cloud.emulator.clear_journal();
        // With legs, the binding of the exchange changes. The exchange is repeated once with the new certificate.
        let token = tokens.get(builtin::ORDERS).await.unwrap();
        assert_eq!((token.binding() == &binding, cloud.minted()), (false, 1), "by legs: {by_legs}");
        assert_eq!(call(&token).await, Ok(200));
    }
    cloud.server.shutdown().await;
}

/// Two identities share the certificate, and each has its own handle of the key. The handle of the first one fails.
#[tokio::test]
async fn a_second_handle_does_not_get_the_connections_of_the_first() {
    let cloud = Cloud::start().await;
    let (dead, live, certificates) = (Slot::with("rsa"), Slot::with("rsa"), MachineCertificates::new());
    let first = Tokens::of(&cloud, cloud.identity(&dead, &certificates), false);
    let old = first.get(builtin::ORDERS).await.unwrap();
    assert_eq!(call(&old).await, Ok(200));
    dead.device().unplug();
    let second = Tokens::of(&cloud, cloud.identity(&live, &certificates), false);
    let new = second.get(builtin::ORDERS).await.unwrap();
    assert_eq!((new.binding(), call(&new).await), (old.binding(), Ok(200)));
    assert_eq!(cloud.minted(), 1, "one certificate for one key");
    assert!(live.device().signed() >= 2, "{}", live.device().signed());
    cloud.server.shutdown().await;
}

#[tokio::test]
async fn callers_at_once_ask_the_provider_for_a_new_handle_once() {
    let cloud = Cloud::start().await;
    let slot = Slot::with("rsa");
    let identity = cloud.identity(&slot, &MachineCertificates::new());
    let binding = identity.binding().await.unwrap();
    slot.asked();
    let replace = || futures_util::future::join_all((0..8).map(|_| identity.replace(&binding, GONE)));
    // The handle is the same, so it does not help.
    assert!(replace().await.into_iter().all(|replaced| !replaced.unwrap()));
    assert_eq!(slot.asked(), 1);
    slot.insert("rsa");
    assert!(replace().await.into_iter().all(|replaced| replaced.unwrap()));
    assert_eq!(slot.asked(), 1);
    assert!(identity.reopened(&binding).is_some());
    cloud.emulator.clear_journal();
    slot.insert("other");
    let reopened = identity.binding().await.unwrap();
    let replace = (0..8).map(|_| identity.replace(&reopened, GONE));
    assert!(futures_util::future::join_all(replace).await.into_iter().all(|replaced| replaced.unwrap()));
    assert_ne!(identity.binding().await.unwrap().thumbprint(), binding.thumbprint());
    assert_eq!((slot.asked(), cloud.minted()), (2, 1), "the search and the request for a certificate");
    cloud.server.shutdown().await;
}

/// The provider panics in the request that all callers share. It is not asked again for each of them.
#[tokio::test]
async fn a_provider_that_panics_gives_no_handle_and_is_asked_again_by_a_later_caller() {
    let cloud = Cloud::start().await;
    let slot = Slot::with("rsa");
    let identity = cloud.identity(&slot, &MachineCertificates::new());
    let binding = identity.binding().await.unwrap();
    slot.asked();
    slot.insert("rsa");
    slot.panics.store(true, Ordering::SeqCst);
    let replace = (0..8).map(|_| identity.replace(&binding, GONE));
    assert!(futures_util::future::join_all(replace).await.into_iter().all(|replaced| !replaced.unwrap()));
    assert_eq!(slot.asked(), 1);
    slot.panics.store(false, Ordering::SeqCst);
    assert!(identity.replace(&binding, GONE).await.unwrap());
    assert_eq!(slot.asked(), 1);
    cloud.server.shutdown().await;
}

/// A token that is still valid is bound to the certificate before the last one.
#[tokio::test]
async fn an_earlier_certificate_gets_the_new_handle_too() {
    let cloud = Cloud::start().await;
    let slot = Slot::with("rsa");
    let identity = cloud.identity(&slot, &MachineCertificates::new());
    let scope = ResourceScope::parse(&format!("{}/.default", builtin::ORDERS)).unwrap();
    let earlier = identity.bound_token(&scope).await.unwrap().binding().clone();
    let current = identity.bound_token(&scope).force_refresh().await.unwrap().binding().clone();
    assert_ne!(earlier.thumbprint(), current.thumbprint());
    slot.device().unplug();
    slot.insert("rsa");
    assert!(identity.replace(&current, GONE).await.unwrap());
    for known in [&earlier, &current] {
        let reopened = identity.reopened(known).unwrap();
        assert_eq!(reopened.thumbprint(), known.thumbprint());
        assert!(identity.reopened(&reopened).is_none(), "it is the handle in use");
    }
    cloud.server.shutdown().await;
}

/// The signer does not say that its handle will never sign again.
#[tokio::test]
async fn a_call_of_a_resource_goes_on_with_the_new_handle_after_any_failure_of_the_signer() {
    let cloud = Cloud::start().await;
    let get =
        || http::Request::get(format!("https://{}/orders", builtin::ORDERS_HOST)).body(Bytes::new()).unwrap();
    for by_legs in [false, true] {
        let slot = Slot::with("rsa");
        let identity = cloud.identity(&slot, &MachineCertificates::new());
        let orders = Tokens::of(&cloud, identity, by_legs).resource(builtin::ORDERS);
        orders.token().await.unwrap();
        slot.device().unplug();
        slot.asked();
        assert_eq!(orders.call(get()).await.unwrap_err().code(), "cryptographic_error");
        assert_eq!(slot.asked(), 1, "by legs: {by_legs}");
        slot.insert("rsa");
        cloud.emulator.clear_journal();
        assert_eq!(orders.call(get()).await.unwrap().status(), 200, "by legs: {by_legs}");
        assert_eq!(cloud.emulator.journal().len(), 1, "the cached token is used");
    }
    cloud.server.shutdown().await;
}
