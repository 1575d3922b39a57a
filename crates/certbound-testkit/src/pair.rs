//! A client and an emulator, joined.

use std::sync::{Arc, LazyLock};

use certbound::{
    Authority, BindingCertificate, ByAssertion, ByCertificate, Client, ClientBuilder, IdentityId,
    ManagedIdentity, ManagedIdentityBuilder, NoCredential, Region, TenantId, UnixTime,
};
use certbound_emulator::world::builtin;
use certbound_emulator::{ClientIdentity, Emulator, EmulatorKeys, IssueOptions, World};

use crate::clock::ManualClock;
use crate::memory::MemoryTransport;

/// An emulator of its own with a clock of its own, and clients joined to it.
pub struct Pair {
    emulator: Arc<Emulator>,
    clock: ManualClock,
}

/// Making keys takes a while; every pair of a test binary has the same ones.
static KEYS: LazyLock<EmulatorKeys> =
    LazyLock::new(|| EmulatorKeys::generate(&World::built_in(), START).expect("keys can be generated"));

impl Pair {
    /// With the built-in world, at the time its certificates are valid.
    pub fn new() -> Self {
        Self::with_world(World::built_in())
    }

    /// With a world of the test's own.
    pub fn with_world(world: World) -> Self {
        let clock = ManualClock::at(START);
        let emulator = Emulator::with_keys(world, KEYS.clone(), Arc::new(EmulatorClock(clock.clone())));
        Self { emulator: Arc::new(emulator.expect("the world is consistent")), clock }
    }

    /// The emulator.
    pub fn emulator(&self) -> &Arc<Emulator> {
        &self.emulator
    }

    /// The clock of both sides.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// What joins a client to the emulator.
    pub fn transport(&self) -> MemoryTransport {
        MemoryTransport::new(Arc::clone(&self.emulator), self.clock.clone())
    }

    /// The certificate that the built-in applications trust.
    pub fn certificate(&self) -> BindingCertificate {
        certificate_of(self.emulator.client_identity())
    }

    /// Another certificate with the same subject and issuer.
    pub fn other_certificate(&self) -> BindingCertificate {
        self.issue(IssueOptions::new(builtin::CLIENT_COMMON_NAME))
    }

    /// A certificate made to order.
    pub fn issue(&self, options: IssueOptions) -> BindingCertificate {
        certificate_of(
            &self.emulator.issue_client_certificate(&options).expect("the certificate can be issued"),
        )
    }

    /// The built-in tenant, region westus3.
    pub fn authority(&self) -> Authority {
        let region = Region::parse("westus3").expect("a region");
        Authority::public(tenant(builtin::TENANT)).with_region(region)
    }

    /// A builder joined to the emulator.
    pub fn builder(&self, client_id: &str) -> ClientBuilder<NoCredential> {
        self.builder_at(self.authority(), client_id)
    }

    /// A builder joined to the emulator, at another authority.
    pub fn builder_at(&self, authority: Authority, client_id: &str) -> ClientBuilder<NoCredential> {
        Client::builder(authority, client_id).with_transport(self.transport()).with_clock(self.clock.clone())
    }

    /// A managed identity of the emulator's machine, with certificates of its own; the test process's key.
    pub fn managed_identity(&self, id: IdentityId) -> ManagedIdentityBuilder {
        ManagedIdentity::builder(id)
            .with_environment(|_| None)
            .with_transport(self.transport())
            .with_clock(self.clock.clone())
    }

    /// Leg 1 by the built-in application's certificate.
    pub fn leg1(&self) -> Client<ByCertificate> {
        self.builder(builtin::APP).with_certificate(self.certificate()).build().expect("a client")
    }

    /// Leg 2 as the same application.
    pub fn leg2(&self) -> Client<ByAssertion> {
        self.builder(builtin::APP).with_assertions(self.leg1()).build().expect("a client")
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// A certificate of the emulator's as a client loads it.
pub fn certificate_of(identity: &ClientIdentity) -> BindingCertificate {
    BindingCertificate::from_pem(identity.bundle_pem().as_bytes()).expect("the emulator's own PEM")
}

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).expect("a tenant")
}

/// The moment at which every pair begins: a fixed one, so that no test depends on the day it runs.
const START: UnixTime = UnixTime::from_secs(1_785_000_000);

struct EmulatorClock(ManualClock);

impl certbound_emulator::clock::Clock for EmulatorClock {
    fn now(&self) -> UnixTime {
        certbound::Clock::now(&self.0)
    }
}
