//! The clients that the soak observes.

use std::time::Duration;

use certbound::credential::{ByAssertion, ByCertificate, NoCredential};
use certbound::managed_identity::{IdentityId, MachineCertificates};
use certbound::{
    AnyClient, Authority, Client, ClientBuilder, ManagedIdentity, Network, Region, Secret, TenantId,
    TokenCache,
};
use certbound_emulator::Emulator;
use certbound_emulator::serve::Server;
use certbound_emulator::world::builtin;

use crate::certificates::Holder;
use crate::clock::FastClock;
use crate::world::{self, CALM, FAULTY};

/// The region whose host becomes unreachable.
pub(crate) const REGION: &str = "westus3";
/// The time limit of one exchange with a service.
pub(crate) const EXCHANGE: Duration = Duration::from_secs(5);

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Bound,
    Bearer,
}

/// A client under observation.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// The client id in its tokens.
    pub(crate) client_id: String,
    pub(crate) source: AnyClient,
    pub(crate) cache: TokenCache,
    pub(crate) kinds: &'static [Kind],
    /// The tenants from which callers choose. If the list is empty, callers choose no tenant.
    pub(crate) tenants: &'static [&'static str],
    /// The client's home tenant.
    pub(crate) home: &'static str,
    /// The certificate that is rotated. A managed identity gets its certificate from the platform.
    pub(crate) certificate: Option<Holder>,
    /// The time limit of one acquisition: each request has its limit, its retries and their waits.
    pub(crate) limit: Duration,
}

impl Subject {
    /// Returns whether the requests of this client never have a fault.
    pub(crate) fn is_calm(&self) -> bool {
        self.home == CALM
    }

    /// Returns whether this client needs the machine's platform.
    pub(crate) fn is_of_machine(&self) -> bool {
        self.limit > OF_CLIENT
    }
}

/// The time limit of one acquisition: the client sends the requests of two legs, each twice with a wait, and then all
/// of them again with a new certificate.
const OF_CLIENT: Duration = Duration::from_secs(48);
/// The time limit of one acquisition with the platform: the client also sends three requests to the platform, each with
/// three retries.
const OF_MACHINE: Duration = Duration::from_secs(75);
const BOTH: &[Kind] = &[Kind::Bound, Kind::Bearer];

/// Builds all clients. Each has its own connections and its own cache.
pub(crate) fn build(emulator: &Emulator, server: &Server, clock: FastClock) -> Vec<Subject> {
    let build = Build { emulator, server, clock };
    let machine = build.machine(IdentityId::System);
    let system = |cache| machine.with_cache(cache).build().unwrap().into();
    let mut subjects = vec![
        build.by_certificate("direct, watched files", 0, build.watched(), &[Kind::Bound], |builder| {
            builder.global_if_region_unreachable()
        }),
        build.two_legs("two legs, rotated", 1, Holder::rotating(emulator), BOTH, REGIONAL),
        build.two_legs("two legs, watched files", 2, build.watched(), &[Kind::Bound], GLOBAL),
        build.by_certificate("signed assertion, RSA", 3, Holder::rotating_rsa(emulator), BOTH, |it| it),
        build.secret(4),
        build.of_machine("managed identity", builtin::SYSTEM_IDENTITY, BOTH, system),
        build.legs_of_machine(),
    ];
    subjects.extend(build.calm());
    subjects
}

const REGIONAL: bool = true;
const GLOBAL: bool = false;

struct Build<'a> {
    emulator: &'a Emulator,
    server: &'a Server,
    clock: FastClock,
}

impl Build<'_> {
    fn network(&self) -> Network {
        let builder = Network::builder().proxy(self.server.proxy_url());
        builder.only_roots_pem(self.emulator.ca_pem()).exchange_timeout(EXCHANGE).build().unwrap()
    }

    fn builder(&self, tenant: &str, id: &str, is_regional: bool) -> ClientBuilder<NoCredential> {
        let authority = Authority::public(TenantId::parse(tenant).unwrap());
        let authority = match is_regional {
            true => authority.with_region(Region::parse(REGION).unwrap()),
            false => authority,
        };
        Client::builder(authority, id).with_network(&self.network()).with_clock(self.clock)
    }

    fn watched(&self) -> Holder {
        Holder::watched(self.emulator, self.clock)
    }

    fn by_certificate(
        &self,
        name: &'static str,
        number: u64,
        certificate: Holder,
        kinds: &'static [Kind],
        set: impl FnOnce(ClientBuilder<ByCertificate>) -> ClientBuilder<ByCertificate>,
    ) -> Subject {
        let (id, cache) = (world::faulty(number), TokenCache::new());
        let builder = with(self.builder(FAULTY[0], &id, REGIONAL).with_cache(cache.clone()), &certificate);
        let source = set(builder).build().unwrap().into();
        Subject { kinds, certificate: Some(certificate), ..subject(name, id, source, cache) }
    }

    fn legs(
        &self,
        tenant: &str,
        id: &str,
        certificate: &Holder,
        is_regional: bool,
    ) -> ClientBuilder<ByAssertion> {
        let leg1 = with(self.builder(tenant, id, is_regional), certificate).build().unwrap();
        self.builder(tenant, id, is_regional).with_assertions(leg1)
    }

    fn two_legs(
        &self,
        name: &'static str,
        number: u64,
        certificate: Holder,
        kinds: &'static [Kind],
        is_regional: bool,
    ) -> Subject {
        let (id, cache) = (world::faulty(number), TokenCache::new());
        let legs = self.legs(FAULTY[0], &id, &certificate, is_regional).with_cache(cache.clone());
        let source = legs.build().unwrap().into();
        Subject { kinds, certificate: Some(certificate), ..subject(name, id, source, cache) }
    }

    fn secret(&self, number: u64) -> Subject {
        let (id, cache) = (world::faulty(number), TokenCache::new());
        let builder = self.builder(FAULTY[0], &id, GLOBAL).with_cache(cache.clone());
        let source = builder.with_secret(Secret::new(world::SECRET)).build().unwrap().into();
        Subject { kinds: &[Kind::Bearer], ..subject("secret", id, source, cache) }
    }

    fn machine(&self, id: IdentityId) -> certbound::managed_identity::ManagedIdentityBuilder {
        let metadata = self.server.metadata_url();
        ManagedIdentity::builder(id)
            .with_environment(move |name| {
                (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| metadata.clone())
            })
            .with_network(&self.network())
            .with_certificates(MachineCertificates::new())
            .with_clock(self.clock)
    }

    fn of_machine(
        &self,
        name: &'static str,
        id: &str,
        kinds: &'static [Kind],
        source: impl FnOnce(TokenCache) -> AnyClient,
    ) -> Subject {
        let cache = TokenCache::new();
        let source = source(cache.clone());
        Subject { kinds, tenants: &[], limit: OF_MACHINE, ..subject(name, id.to_owned(), source, cache) }
    }

    fn legs_of_machine(&self) -> Subject {
        let user = IdentityId::client_id(builtin::USER_IDENTITY).unwrap();
        let leg1 = self.machine(user).build().unwrap();
        let builder = self.builder(FAULTY[0], builtin::TARGET_APP, REGIONAL).with_assertions(leg1);
        let source = |cache| builder.with_cache(cache).build().unwrap().into();
        self.of_machine("two legs, managed identity", builtin::TARGET_APP, &[Kind::Bound], source)
    }

    /// Builds the clients whose requests have no fault.
    fn calm(&self) -> [Subject; 2] {
        let (id, cache, certificate) = (world::calm(0), TokenCache::new(), Holder::rotating(self.emulator));
        let builder = with(self.builder(CALM, &id, GLOBAL).with_cache(cache.clone()), &certificate);
        let source = builder.build().unwrap().into();
        let direct = Subject { certificate: Some(certificate), ..subject("calm, direct", id, source, cache) };
        let (id, cache, certificate) = (world::calm(1), TokenCache::new(), self.watched());
        let legs = self.legs(CALM, &id, &certificate, GLOBAL).with_cache(cache.clone());
        let source = legs.build().unwrap().into();
        let legs = subject("calm, two legs", id, source, cache);
        let legs = Subject { kinds: BOTH, certificate: Some(certificate), ..legs };
        [direct, legs].map(|subject| Subject { tenants: &[CALM], home: CALM, ..subject })
    }
}

/// Gives the certificate to the client.
fn with(builder: ClientBuilder<NoCredential>, certificate: &Holder) -> ClientBuilder<ByCertificate> {
    match certificate {
        Holder::Rotating { certificate, .. } => builder.with_certificate(certificate.clone()),
        Holder::Watched { certificate, .. } => builder.with_certificate(certificate.clone()),
    }
}

fn subject(name: &'static str, client_id: String, source: AnyClient, cache: TokenCache) -> Subject {
    Subject {
        name,
        client_id,
        source,
        cache,
        kinds: &[Kind::Bound],
        tenants: &FAULTY,
        home: FAULTY[0],
        certificate: None,
        limit: OF_CLIENT,
    }
}
