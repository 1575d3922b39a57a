//! A randomised run beside a plain model of what may be served: acquisitions, rotation, cancellation, faults and clocks.
//!
//! `CERTBOUND_ORACLE_SECONDS` says how long (20 unless told otherwise), `CERTBOUND_ORACLE_SEED` with which first seed. A
//! failure names the seed that shows it again.

mod chance;
mod model;
mod service;

use std::fs;
use std::future::IntoFuture as _;
use std::time::Duration;

use certbound::{
    BearerToken, BoundToken, ByCertificate, BySecret, Client, Clock as _, Details, Error, ResourceScope,
    Secret, Source, TenantId, TokenCache, TokenHash, UnixTime, WatchedCertificate,
};
use certbound_testkit::emulator::world::builtin::{self, CLIENT_COMMON_NAME};
use certbound_testkit::emulator::{ClientIdentity, IssueOptions};
use certbound_testkit::{ManualClock, Pair};
use tokio::task::{AbortHandle, JoinSet};

use self::chance::Chance;
use self::model::{Model, Served, Wanted};
use self::service::{Mood, Service};

const NOW: UnixTime = UnixTime::from_secs(1_785_000_000);
const OTHER_APP: &str = "22222222-2222-3333-4444-555555555555";
const STEPS: usize = 400;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long the run takes is the machine's time, and no test depends on it"
)]
fn what_is_served_is_what_may_be_served() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = number("CERTBOUND_ORACLE_SECONDS").unwrap_or(20);
    let first = number("CERTBOUND_ORACLE_SEED").unwrap_or_else(|| std::process::id().into());
    let until = std::time::Instant::now() + Duration::from_secs(seconds);
    let certificates = certificates();
    let mut totals = model::Totals::default();
    for seed in first.. {
        println!("seed {seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        totals += runtime.block_on(Epoch::new(seed, &certificates).run());
        if std::time::Instant::now() >= until {
            break;
        }
    }
    println!("{totals:?}");
    totals.check();
}

/// Of one subject, valid at all times that the clock comes to.
fn certificates() -> Vec<ClientIdentity> {
    let pair = Pair::new();
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let options = IssueOptions::new(CLIENT_COMMON_NAME).valid(NOW.minus(year), NOW.plus(year));
    (0..4).map(|_| pair.emulator().issue_client_certificate(&options).unwrap()).collect()
}

/// One world, from its first request to its last.
struct Epoch<'a> {
    chance: Chance,
    clock: ManualClock,
    /// What the clock showed, in turn.
    times: Vec<UnixTime>,
    service: Service,
    model: Model,
    cache: TokenCache,
    secrets: Vec<Client<BySecret>>,
    bound: Client<ByCertificate>,
    watched: WatchedCertificate,
    file: tempfile::NamedTempFile,
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
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), certificates[0].bundle_pem()).unwrap();
        let watch = WatchedCertificate::file(file.path()).with_clock(clock.clone());
        let watched = watch.poll_every(Duration::from_secs(1_000_000)).start().unwrap();
        let authority = certbound::Authority::public(TenantId::parse(builtin::TENANT).unwrap());
        let builder = |app: &str| {
            Client::builder(authority.clone(), app)
                .with_cache(cache.clone())
                .with_clock(clock.clone())
                .with_transport(service.clone())
        };
        let secrets = [builtin::APP, OTHER_APP]
            .map(|app| builder(app).with_secret(Secret::new("s")).build().unwrap())
            .to_vec();
        let bound = builder(builtin::APP).with_certificate(watched.clone()).build().unwrap();
        let model = Model::new(seed, keeps_all);
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
            certificates,
            running,
            handles,
        }
    }

    async fn run(mut self) -> model::Totals {
        for _ in 0..STEPS {
            match self.chance.below(20) {
                0..=8 => {
                    self.ask();
                    // Until it has looked into the cache: what is expected of it is of this moment.
                    self.settle(3).await;
                }
                9 => self.give_up(),
                10..=11 => self.pass_time(),
                13 => self.change_mood(),
                14 => self.rotate(),
                15 if self.chance.below(8) == 0 => {
                    self.cache.clear();
                    self.model.cleared();
                }
                _ => {
                    let turns = self.chance.below(30);
                    self.settle(turns).await;
                }
            }
            self.judge();
        }
        self.service.mood(Mood::Well);
        self.settle(2_000).await;
        self.judge();
        assert!(self.running.is_empty(), "seed {}: some never end", self.model.seed);
        self.model.totals(&self.service)
    }

    /// Begins an acquisition of any kind.
    fn ask(&mut self) {
        let chance = &mut self.chance;
        let scope =
            ["https://vault.azure.net/.default", "https://graph.microsoft.com/.default"][chance.below(2)];
        let tenant = [builtin::TENANT, builtin::OTHER_TENANT][chance.below(2)];
        let path = [None, Some("a"), Some("b")][chance.below(3)];
        let forced = chance.below(10) == 0;
        let claims = (chance.below(12) == 0).then_some(r#"{"access_token":{"acrs":{"value":"c1"}}}"#);
        let client = chance.below(3);
        let certificate = (client == 2).then(|| self.watched.current().thumbprint());
        let mut wanted = Wanted {
            app: if client == 1 { OTHER_APP } else { builtin::APP }.to_owned(),
            tenant: tenant.to_owned(),
            scope: scope.to_owned(),
            path: path.map(str::to_owned),
            bound: client == 2,
            forced,
            claims: claims.map(str::to_owned),
            rejected: None,
            certificate,
            since: self.service.answered(),
            clears: 0,
            asked_at: self.times.len() - 1,
            fresh: None,
            lasting: None,
        };
        let rejected =
            (!forced && claims.is_none() && chance.below(10) == 0).then(|| self.model.any_of(&wanted));
        wanted.rejected = rejected.flatten();
        self.model.expect(&mut wanted, &self.service, self.clock.now());
        let scope = ResourceScope::parse(scope).unwrap();
        let tenant = TenantId::parse(tenant).unwrap();
        // The same options for both kinds of token.
        macro_rules! acquire {
            ($acquire:expr) => {{
                let mut acquire = $acquire.tenant(tenant);
                if let Some(path) = path {
                    acquire = acquire.fmi_path(path);
                }
                if forced {
                    acquire = acquire.force_refresh();
                }
                if let Some(claims) = claims {
                    acquire = acquire.claims(claims);
                }
                if let Some(rejected) = &wanted.rejected {
                    acquire = acquire.rejected(TokenHash::of(&Secret::new(rejected.clone())));
                }
                acquire.into_future()
            }};
        }
        let handle = if client == 2 {
            let bound = self.bound.clone();
            self.running.spawn(async move {
                let token = acquire!(bound.bound_token(&scope)).await;
                (wanted, token.map(|token: BoundToken| served(token.secret(), token.details(), Some(&token))))
            })
        } else {
            let plain = self.secrets[client].clone();
            self.running.spawn(async move {
                let token = acquire!(plain.bearer_token(&scope)).await;
                (wanted, token.map(|token: BearerToken| served(token.secret(), token.details(), None)))
            })
        };
        self.handles.push(handle);
    }

    fn give_up(&mut self) {
        if !self.handles.is_empty() {
            let handle = self.handles.swap_remove(self.chance.below(self.handles.len()));
            handle.abort();
        }
    }

    fn pass_time(&mut self) {
        self.move_clock();
        self.times.push(self.clock.now());
        self.model.passed(self.clock.now(), &self.service);
    }

    fn move_clock(&mut self) {
        let seconds = match self.chance.below(20) {
            0 => {
                // Set back, by little or by much; what comes after that is judged anew.
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
        ];
        let mood = moods[self.chance.below(moods.len())];
        self.service.mood(mood);
    }

    /// Another certificate, or something that is none.
    fn rotate(&mut self) {
        let good = self.chance.below(4) != 0;
        let next = &self.certificates[self.chance.below(self.certificates.len())];
        let text = match good {
            true => next.bundle_pem(),
            false => next.bundle_pem()[..300].to_owned(),
        };
        fs::write(self.file.path(), text).unwrap();
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
        from_cache: details.source == Source::Cache,
        by_own_request: details.source == Source::Service,
        binding: bound.map(|token| token.binding().thumbprint()),
    }
}
