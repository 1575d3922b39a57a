//! A client and an emulator, connected in memory.

use std::sync::{Arc, LazyLock};

use certbound::credential::{ByAssertion, ByCertificate, NoCredential};
#[cfg(feature = "all")]
use certbound::managed_identity::{IdentityId, ManagedIdentity, ManagedIdentityBuilder};
use certbound::{Authority, BindingCertificate, Client, ClientBuilder, Region, TenantId, UnixTime};
use certbound_emulator::world::builtin;
use certbound_emulator::{ClientIdentity, Emulator, EmulatorKeys, IssueOptions, World};

use crate::clock::ManualClock;
use crate::memory::MemoryTransport;

/// An emulator with its own clock, and clients that are connected to it.
pub struct Pair {
    emulator: Arc<Emulator>,
    clock: ManualClock,
}

/// The keys of every pair in a test binary. All pairs share the keys, because their generation takes long.
static KEYS: LazyLock<EmulatorKeys> =
    LazyLock::new(|| EmulatorKeys::generate(&World::built_in(), START).expect("keys can be generated"));

impl Pair {
    /// Creates an emulator with the built-in world. The clock shows a time at which the emulator's certificates are
    /// valid.
    pub fn new() -> Self {
        Self::with_world(World::built_in())
    }

    /// Creates an emulator with the test's own world.
    pub fn with_world(world: World) -> Self {
        let clock = ManualClock::at(START);
        let emulator = Emulator::with_keys(world, KEYS.clone(), Arc::new(EmulatorClock(clock.clone())));
        Self { emulator: Arc::new(emulator.expect("the world is consistent")), clock }
    }

    /// Returns the emulator.
    pub fn emulator(&self) -> &Arc<Emulator> {
        &self.emulator
    }

    /// Returns the clock of the client and of the emulator.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Returns a transport that connects a client to the emulator.
    pub fn transport(&self) -> MemoryTransport {
        MemoryTransport::new(Arc::clone(&self.emulator), self.clock.clone())
    }

    /// Returns the certificate that the built-in applications trust.
    pub fn certificate(&self) -> BindingCertificate {
        certificate_of(self.emulator.client_identity())
    }

    /// Returns a different certificate with the same subject and issuer.
    pub fn other_certificate(&self) -> BindingCertificate {
        self.issue(IssueOptions::new(builtin::CLIENT_COMMON_NAME))
    }

    /// Issues a certificate with these options.
    pub fn issue(&self, options: IssueOptions) -> BindingCertificate {
        certificate_of(
            &self.emulator.issue_client_certificate(&options).expect("the certificate can be issued"),
        )
    }

    /// Returns the authority of the built-in tenant, in the region westus3.
    pub fn authority(&self) -> Authority {
        let region = Region::parse("westus3").expect("a region");
        Authority::public(tenant(builtin::TENANT)).with_region(region)
    }

    /// Returns a builder that is connected to the emulator.
    pub fn builder(&self, client_id: &str) -> ClientBuilder<NoCredential> {
        self.builder_at(self.authority(), client_id)
    }

    /// Returns a builder that is connected to the emulator, for a different authority.
    pub fn builder_at(&self, authority: Authority, client_id: &str) -> ClientBuilder<NoCredential> {
        Client::builder(authority, client_id).with_transport(self.transport()).with_clock(self.clock.clone())
    }

    /// Returns a builder for a managed identity of the emulator's machine, with its own certificates and the key of the
    /// test process.
    #[cfg(feature = "all")]
    pub fn managed_identity(&self, id: IdentityId) -> ManagedIdentityBuilder {
        ManagedIdentity::builder(id)
            .with_environment(|_| None)
            .with_transport(self.transport())
            .with_clock(self.clock.clone())
    }

    /// Returns a client for Leg 1, with the certificate of the built-in application.
    pub fn leg1(&self) -> Client<ByCertificate> {
        self.builder(builtin::APP).with_certificate(self.certificate()).build().expect("a client")
    }

    /// Returns a client for both legs of the same application.
    pub fn leg2(&self) -> Client<ByAssertion> {
        self.builder(builtin::APP).with_assertions(self.leg1()).build().expect("a client")
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a certificate of the emulator in the form that a client loads.
pub fn certificate_of(identity: &ClientIdentity) -> BindingCertificate {
    BindingCertificate::from_pem(identity.bundle_pem().as_bytes()).expect("the emulator's own PEM")
}

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).expect("a tenant")
}

/// The time at which every pair begins. It is fixed, so that no test depends on the date.
const START: UnixTime = UnixTime::from_secs(1_785_000_000);

struct EmulatorClock(ManualClock);

impl certbound_emulator::clock::Clock for EmulatorClock {
    fn now(&self) -> UnixTime {
        certbound::clock::Clock::now(&self.0)
    }
}
