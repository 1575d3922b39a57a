//! Runs random operations and compares the results with a plain model of the cache. The operations are acquisitions by
//! the direct flow and the two-leg flow, rotation, cancellation, `forget`, a store, a provider that panics, refused
//! certificates, faults and clock changes.
//!
//! `CERTBOUND_ORACLE_SECONDS` sets the duration (default 20), and `CERTBOUND_ORACLE_SEED` the first seed. The default
//! seed is always the same, so that a failure is caused by the change under test. A failure prints its seed, which
//! repeats it.

mod chance;
mod hands;
mod model;
mod service;

use std::future::IntoFuture as _;
use std::time::Duration;

use certbound::clock::Clock as _;
use certbound::credential::{ByAssertion, ByCertificate, BySecret};
use certbound::retry::RetryPolicy;
use certbound::token::{Details, TokenHash};
use certbound::{
    BearerToken, BoundToken, Client, Error, ResourceScope, Secret, TenantId, Thumbprint, TokenCache,
    UnixTime, WatchedCertificate,
};
use certbound_testkit::emulator::world::builtin::{self, CLIENT_COMMON_NAME};
use certbound_testkit::emulator::{ClientIdentity, IssueOptions};
use certbound_testkit::{ManualClock, Pair};
use tokio::task::{AbortHandle, JoinSet};

use self::chance::Chance;
use self::hands::{InHand, Slow, Turns};
use self::model::{Model, Served, Wanted};
use self::service::{Mood, Service};
use crate::rotation::Unseen;

const NOW: UnixTime = UnixTime::from_secs(1_785_000_000);
const OTHER_APP: &str = "22222222-2222-3333-4444-555555555555";
/// The application of both legs.
const LEGS_APP: &str = "33333333-2222-3333-4444-555555555555";
const STEPS: usize = 400;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long the run takes is the machine's time, and no test depends on it"
)]
fn what_is_served_is_what_may_be_served() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = number("CERTBOUND_ORACLE_SECONDS").unwrap_or(20);
    let first = number("CERTBOUND_ORACLE_SEED").unwrap_or(1);
    let until = std::time::Instant::now() + Duration::from_secs(seconds);
    let certificates = certificates();
    let mut totals = model::Totals::default();
    for seed in first.. {
        println!("seed {seed}");
        totals += run(seed, &certificates).0;
        if std::time::Instant::now() >= until {
            break;
        }
    }
    println!("{totals:?}");
    totals.check();
}

/// Two runs of one seed must be equal. Otherwise the seed of a failure would not repeat the failure.
#[test]
fn a_seed_shows_the_same_again() {
    let certificates = certificates();
    // In earlier versions these seeds returned a stored token instead of a newer token. In 33588 the certificate
    // changes during the request. In 19084 the clock changes before the caller sees a failure. In 29325350 the store
    // has the predecessor of the rejected token.
    for seed in (1..=6).chain([9_321, 30_161, 33_588, 19_084, 29_325_350]) {
        let (one, other) = (run(seed, &certificates).1, run(seed, &certificates).1);
        assert!(one.len() > 50, "{one:?}");
        let differs = one.iter().zip(&other).position(|(one, other)| one != other);
        assert_eq!((differs, one.len()), (None, other.len()), "seed {seed}");
    }
}

/// Runs one seed and returns its totals and its trace.
fn run(seed: u64, certificates: &[ClientIdentity]) -> (model::Totals, Vec<String>) {
    // Time is paused. A wait for the store takes a number of turns.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(Epoch::new(seed, certificates).run())
}

/// Returns certificates with one subject, valid at all times that the clock shows.
fn certificates() -> Vec<ClientIdentity> {
    let pair = Pair::new();
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let options = IssueOptions::new(CLIENT_COMMON_NAME).valid(NOW.minus(year), NOW.plus(year));
    (0..4).map(|_| pair.emulator().issue_client_certificate(&options).unwrap()).collect()
}

/// One run from its first request to its last.
struct Epoch<'a> {
    chance: Chance,
    clock: ManualClock,
    /// The times that the clock has shown, in order.
    times: Vec<UnixTime>,
    service: Service,
    model: Model,
    cache: TokenCache,
    secrets: Vec<Client<BySecret>>,
    bound: Client<ByCertificate>,
    watched: WatchedCertificate,
    file: Unseen,
    legs: Client<ByAssertion>,
    leg1: InHand,
    certificates: &'a [ClientIdentity],
    running: JoinSet<(Wanted, Result<Served, Error>)>,
    handles: Vec<AbortHandle>,
}

impl<'a> Epoch<'a> {
    fn new(seed: u64, certificates: &'a [ClientIdentity]) -> Self {
        let mut chance = Chance::new(seed);
        let clock = ManualClock::at(NOW);
        let service = Service::new(seed, clock.clone());
        let (cache, keeps_all) = match chance.below(5) {
            0 => (TokenCache::none(), false),
            1 => (TokenCache::with_capacity(3), false),
            2 => (TokenCache::with_limits(1_000, 4_000), false),
            _ => (TokenCache::new(), true),
        };
        let has_store = chance.below(3) == 0;
        let cache = if has_store { cache.with_store(Slow::new(seed)) } else { cache };
        let cache = cache.with_seed(seed);
        // No thread may react to a change of the file, because the time of its reaction would not depend on the seed.
        let file = Unseen::new(&certificates[0]);
        let watch = WatchedCertificate::file(file.link()).with_clock(clock.clone());
        let watched = watch.poll_every(Duration::from_secs(1_000_000)).start().unwrap();
        let authority = certbound::Authority::public(TenantId::parse(builtin::TENANT).unwrap());
        let builder = |app: &str| {
            Client::builder(authority.clone(), app)
                .with_cache(cache.clone())
                .with_clock(Turns(clock.clone()))
                .with_transport(service.clone())
                .with_retry_policy(RetryPolicy::default().without_retries())
        };
        let secrets = [builtin::APP, OTHER_APP]
            .map(|app| builder(app).with_secret(Secret::new("s")).build().unwrap())
            .to_vec();
        let bound = builder(builtin::APP).with_certificate(watched.clone()).build().unwrap();
        let leg1 = InHand::new(seed, certificates, &service);
        let legs = builder(LEGS_APP).with_assertions(leg1.clone()).build().unwrap();
        let model = Model::new(seed, keeps_all, has_store);
        let (running, handles) = (JoinSet::new(), Vec::new());
        let times = vec![NOW];
        Self {
            chance,
            clock,
            times,
            service,
            model,
            cache,
            secrets,
            bound,
            watched,
            file,
            legs,
            leg1,
            certificates,
            running,
            handles,
        }
    }

    async fn run(mut self) -> (model::Totals, Vec<String>) {
        for _ in 0..STEPS {
            match self.chance.below(20) {
                0..=8 => {
                    let (number, client) = self.ask();
                    let before = (certificate_of(client, &self.watched, &self.leg1), self.leg1.rotated());
                    // The cache is read within these turns. The model's expectation is for this moment.
                    self.settle(3).await;
                    // Another request may replace the client's certificate before this request reads the cache.
                    let after = (certificate_of(client, &self.watched, &self.leg1), self.leg1.rotated());
                    // The certificate may have been replaced and restored.
                    if after.0 != before.0 || (client == 3 && after.1 != before.1) {
                        self.model.was_overtaken(number);
                    }
                }
                9 => self.give_up(),
                10..=11 => self.pass_time(),
                12 => self.forget().await,
                13 => self.change_mood(),
                14 => self.rotate(),
                15 if self.chance.below(8) == 0 => {
                    self.cache.clear();
                    self.model.cleared(&self.service);
                }
                _ => {
                    let turns = self.chance.below(30);
                    self.settle(turns).await;
                }
            }
            self.judge();
        }
        self.service.mood(Mood::Well);
        self.leg1.panics(false);
        self.settle(4_000).await;
        self.judge();
        assert!(self.running.is_empty(), "seed {}: some never end", self.model.seed);
        self.model.ended()
    }

    /// Returns a random request, with the facts that the model has about the request now.
    fn wanted(&mut self) -> Wanted {
        let chance = &mut self.chance;
        let scope =
            ["https://vault.azure.net/.default", "https://graph.microsoft.com/.default"][chance.below(2)];
        let tenant = [builtin::TENANT, builtin::OTHER_TENANT][chance.below(2)];
        let path = [None, Some("a"), Some("b")][chance.below(3)];
        let forced = chance.below(10) == 0;
        let claims = (chance.below(12) == 0).then_some(r#"{"access_token":{"acrs":{"value":"c1"}}}"#);
        let client = chance.below(4);
        let certificate = certificate_of(client, &self.watched, &self.leg1);
        let mut wanted = Wanted {
            number: self.model.next(),
            app: [builtin::APP, OTHER_APP, builtin::APP, LEGS_APP][client].to_owned(),
            tenant: tenant.to_owned(),
            scope: scope.to_owned(),
            path: path.map(str::to_owned),
            bound: client >= 2,
            two_legs: client == 3,
            client,
            forced,
            claims: claims.map(str::to_owned),
            rejected: None,
            certificate,
            certificate_is_sure: true,
            since: self.service.answered(),
            forgotten: 0,
            clears: 0,
            asked_at: self.times.len() - 1,
            fresh: None,
            lasting: None,
        };
        let rejected =
            (!forced && claims.is_none() && chance.below(10) == 0).then(|| self.model.any_of(&wanted));
        wanted.rejected = rejected.flatten();
        self.model.expect(&mut wanted, &self.service, self.clock.now());
        wanted
    }

    /// Starts a random acquisition. Returns its number and its client.
    fn ask(&mut self) -> (u64, usize) {
        let wanted = self.wanted();
        let asked = (wanted.number, wanted.client);
        let scope = ResourceScope::parse(&wanted.scope).unwrap();
        let tenant = TenantId::parse(&wanted.tenant).unwrap();
        // The options are the same for both kinds of token.
        macro_rules! acquire {
            ($acquire:expr) => {{
                let mut acquire = $acquire.tenant(tenant);
                if let Some(path) = &wanted.path {
                    acquire = acquire.fmi_path(path);
                }
                if wanted.forced {
                    acquire = acquire.force_refresh();
                }
                if let Some(claims) = &wanted.claims {
                    acquire = acquire.claims(claims);
                }
                if let Some(rejected) = &wanted.rejected {
                    acquire = acquire.rejected(TokenHash::of(&Secret::new(rejected.clone())));
                }
                acquire.into_future()
            }};
        }
        let bound = |token: BoundToken| served(token.secret(), token.details(), Some(&token));
        let bearer = |token: BearerToken| served(token.secret(), token.details(), None);
        let handle = match wanted.client {
            2 => {
                let client = self.bound.clone();
                self.running.spawn(async move {
                    let token = acquire!(client.bound_token(&scope)).await;
                    (wanted, token.map(bound))
                })
            }
            3 => {
                let client = self.legs.clone();
                self.running.spawn(async move {
                    let token = acquire!(client.bound_token(&scope)).await;
                    (wanted, token.map(bound))
                })
            }
            plain => {
                let client = self.secrets[plain].clone();
                self.running.spawn(async move {
                    let token = acquire!(client.bearer_token(&scope)).await;
                    (wanted, token.map(bearer))
                })
            }
        };
        self.handles.push(handle);
        asked
    }

    /// Forgets a random token; this never waits.
    async fn forget(&mut self) {
        let wanted = self.wanted();
        let scope = ResourceScope::parse(&wanted.scope).unwrap();
        let tenant = TenantId::parse(&wanted.tenant).unwrap();
        macro_rules! forget {
            ($acquire:expr) => {{
                let acquire = $acquire.tenant(tenant);
                match &wanted.path {
                    Some(path) => acquire.fmi_path(path).forget().await,
                    None => acquire.forget().await,
                }
            }};
        }
        let forgot = match wanted.client {
            2 => forget!(self.bound.bound_token(&scope)),
            3 => forget!(self.legs.bound_token(&scope)),
            plain => forget!(self.secrets[plain].bearer_token(&scope)),
        };
        forgot.unwrap();
        self.model.forgot(&wanted, &self.service);
    }

    fn give_up(&mut self) {
        if !self.handles.is_empty() {
            let handle = self.handles.swap_remove(self.chance.below(self.handles.len()));
            handle.abort();
        }
    }

    fn pass_time(&mut self) {
        self.move_clock();
        self.service.time_passed();
        self.times.push(self.clock.now());
        self.model.passed(self.clock.now(), &self.service);
    }

    fn move_clock(&mut self) {
        let seconds = match self.chance.below(20) {
            0 => {
                // Sets the clock back by a small or a large step. Later results are compared with the new time.
                let back = [30, 200, 4_000, 100_000][self.chance.below(4)];
                let now = self.clock.now().minus(Duration::from_secs(back));
                self.clock.set(now);
                return;
            }
            1 => 86_400,
            2..=3 => self.chance.below(3_000),
            _ => self.chance.below(60),
        };
        self.clock.advance(Duration::from_secs(seconds as u64));
    }

    fn change_mood(&mut self) {
        let moods = [
            Mood::Well,
            Mood::Well,
            Mood::Well,
            Mood::Well,
            Mood::Well,
            Mood::Well,
            Mood::Away,
            Mood::Unreachable,
            Mood::Refuses,
            Mood::Blames,
        ];
        let mood = moods[self.chance.below(moods.len())];
        self.service.mood(mood);
        self.leg1.panics(self.chance.below(6) == 0);
    }

    /// Replaces the certificate by another certificate or by an invalid file.
    fn rotate(&mut self) {
        if self.chance.below(2) == 0 {
            return self.leg1.rotate();
        }
        let good = self.chance.below(4) != 0;
        let next = &self.certificates[self.chance.below(self.certificates.len())];
        let text = match good {
            true => next.bundle_pem(),
            false => next.bundle_pem()[..300].to_owned(),
        };
        self.file.write(text);
        assert_eq!(self.watched.reload().is_ok(), good, "seed {}", self.model.seed);
    }

    async fn settle(&mut self, turns: usize) {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    fn judge(&mut self) {
        while let Some(ended) = self.running.try_join_next() {
            match ended {
                Ok((wanted, result)) => {
                    let times = &self.times[wanted.asked_at..];
                    self.model.judge(&wanted, result, &self.service, times);
                }
                Err(error) => assert!(error.is_cancelled(), "seed {}: {error}", self.model.seed),
            }
        }
        self.handles.retain(|handle| !handle.is_finished());
    }
}

fn served(secret: &Secret, details: Details, bound: Option<&BoundToken>) -> Served {
    Served {
        token: secret.expose().to_owned(),
        source: details.source,
        binding: bound.map(|token| token.binding().thumbprint()),
    }
}

/// Returns the certificate that a client uses now.
fn certificate_of(client: usize, watched: &WatchedCertificate, leg1: &InHand) -> Option<Thumbprint> {
    match client {
        2 => Some(watched.current().thumbprint()),
        3 => Some(leg1.current().thumbprint()),
        _ => None,
    }
}
