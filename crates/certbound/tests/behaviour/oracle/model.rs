//! The plain model: the tokens that the cache may return for a request, and those that it must return.

use std::collections::{HashMap, HashSet};
use std::ops::AddAssign;

use certbound::cache::Source;
use certbound::{Error, Thumbprint, UnixTime};

use super::service::{Issued, Service};

const MARGIN: u64 = 300;
const LINGERS: u64 = 3_600;
/// For this time after a transient failure the cache returns a token without a new request.
const REPRIEVE: u64 = 120;

/// A request, and the facts that were known when it was made.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) number: u64,
    pub(super) app: String,
    pub(super) tenant: String,
    pub(super) scope: String,
    pub(super) path: Option<String>,
    pub(super) bound: bool,
    pub(super) two_legs: bool,
    /// The index of the client.
    pub(super) client: usize,
    pub(super) forced: bool,
    pub(super) claims: Option<String>,
    pub(super) rejected: Option<String>,
    /// The certificate in use.
    pub(super) certificate: Option<Thumbprint>,
    /// Whether the certificate was not replaced before the cache was read.
    pub(super) certificate_is_sure: bool,
    /// The number of answers of the service so far.
    pub(super) since: u64,
    /// The number of answers that had arrived when the token was last forgotten. Their tokens must not be returned.
    pub(super) forgotten: u64,
    /// The number of times that the cache had been cleared.
    pub(super) clears: u64,
    /// The index of the clock's time.
    pub(super) asked_at: usize,
    /// The token that the cache can return at once. If there is a token, no request may be sent to the service.
    pub(super) fresh: Option<String>,
    /// A token in the cache that is still valid. If there is a token, the caller must not see a transient failure.
    pub(super) lasting: Option<String>,
}

#[derive(Debug)]
pub(super) struct Served {
    pub(super) token: String,
    pub(super) source: Source,
    pub(super) binding: Option<Thumbprint>,
}

pub(super) type Key = (String, String, String, Option<String>, bool, Option<Thumbprint>);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    epochs: u64,
    asked: u64,
    hits: u64,
    fetched: u64,
    joined: u64,
    in_outage: u64,
    earlier: u64,
    from_store: u64,
    forgotten: u64,
    panicked: u64,
    two_legs: u64,
    errors: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.epochs += other.epochs;
        self.asked += other.asked;
        self.hits += other.hits;
        self.fetched += other.fetched;
        self.joined += other.joined;
        self.in_outage += other.in_outage;
        self.earlier += other.earlier;
        self.from_store += other.from_store;
        self.forgotten += other.forgotten;
        self.panicked += other.panicked;
        self.two_legs += other.two_legs;
        self.errors += other.errors;
    }
}

impl Totals {
    /// Checks that every kind of event has happened. Otherwise the run would prove nothing about a missing kind.
    pub(super) fn check(&self) {
        let Self { epochs, asked, hits, fetched, joined, in_outage, earlier, .. } = *self;
        let Self { from_store, forgotten, panicked, two_legs, errors, .. } = *self;
        let all = [epochs, asked, hits, fetched, joined, in_outage, earlier];
        let more = [from_store, forgotten, panicked, two_legs, errors];
        assert!(all.iter().chain(&more).all(|count| *count > 0), "{self:?}");
    }
}

pub(super) struct Model {
    pub(super) seed: u64,
    /// Whether the cache is large enough to lose no token.
    keeps_all: bool,
    /// Whether there is a store. The store may have an older token that expires later.
    has_store: bool,
    /// The tokens that were rejected, and the tokens that at some time of the clock were expired or had an unknown age.
    doubted: HashSet<String>,
    /// The token that the cache must have for each key: the last token that a caller received.
    cached: HashMap<Key, String>,
    /// The number of answers that had arrived when a token was forgotten.
    forgotten: HashMap<Key, u64>,
    clears: u64,
    /// The number of answers that had arrived when the cache was last cleared. Callers may receive these answers later.
    cleared: u64,
    /// The number of requests.
    numbers: u64,
    /// The requests whose certificate changed after the request was made. The model has no expectation for them.
    overtaken: HashSet<u64>,
    totals: Totals,
    /// All judged results, in order.
    pub(super) trace: Vec<String>,
}

impl Model {
    pub(super) fn new(seed: u64, keeps_all: bool, has_store: bool) -> Self {
        Self {
            seed,
            keeps_all,
            has_store,
            doubted: HashSet::new(),
            cached: HashMap::new(),
            forgotten: HashMap::new(),
            clears: 0,
            cleared: 0,
            numbers: 0,
            overtaken: HashSet::new(),
            totals: Totals { epochs: 1, ..Totals::default() },
            trace: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn was_overtaken(&mut self, number: u64) {
        self.overtaken.insert(number);
    }

    pub(super) fn cleared(&mut self, service: &Service) {
        self.cached.clear();
        self.cleared = service.came();
        self.clears += 1;
    }

    /// Records that a token was forgotten. Later results show that the cache no longer has the token.
    pub(super) fn forgot(&mut self, wanted: &Wanted, service: &Service) {
        let key = key(wanted, wanted.certificate);
        // The tokens of earlier certificates are removed too.
        let (mut all, own) = (key.clone(), key.5);
        self.cached.retain(|known, _| {
            all.5 = known.5;
            *known != all || own.is_none()
        });
        self.cached.remove(&key);
        self.forgotten.insert(key, service.came());
        self.clears += 1;
        self.totals.forgotten += 1;
    }

    /// Records a change of the clock. A token that expired an hour ago may have been removed. After the clock is set
    /// back, the cache then no longer has the token.
    pub(super) fn passed(&mut self, now: UnixTime, service: &Service) {
        let at = now.as_secs();
        let doubted = self.cached.values().filter(|token| {
            let issued = service.issued(token);
            issued.expires_at() <= at || issued.counts_from.as_secs() > at + MARGIN
        });
        self.doubted.extend(doubted.cloned());
        self.cached.retain(|_, token| service.issued(token).expires_at() + LINGERS > now.as_secs());
    }

    /// Returns a token that the next request may reject.
    pub(super) fn any_of(&self, wanted: &Wanted) -> Option<String> {
        self.cached.get(&key(wanted, wanted.certificate)).cloned()
    }

    /// Records the tokens that the cache must have for a request that is about to be made.
    pub(super) fn expect(&mut self, wanted: &mut Wanted, service: &Service, now: UnixTime) {
        wanted.forgotten = self.forgotten.get(&key(wanted, wanted.certificate)).copied().unwrap_or(0);
        // A stored token may replace the rejected token if the clock was set back after the stored token arrived.
        self.doubted.extend(wanted.rejected.clone());
        if !self.keeps_all || wanted.forced || wanted.claims.is_some() {
            return;
        }
        let Some(token) = self.cached.get(&key(wanted, wanted.certificate)) else { return };
        // Another request may have replaced the token in the meantime.
        let known = service.issued(token);
        let wanted_key = key(wanted, wanted.certificate);
        let successors = service.all(|issued| issued.began >= known.began && key_of(issued) == wanted_key);
        let holds = |enough: &dyn Fn(&Issued) -> bool| {
            successors.iter().all(|(token, issued)| {
                enough(issued)
                    && issued.counts_from.as_secs() <= now.as_secs() + MARGIN
                    && wanted.rejected.as_ref() != Some(token)
            })
        };
        let (now, token) = (now.as_secs(), token.clone());
        let fresh = holds(&|issued| issued.expires_at() > now + margin_of(issued));
        let lasting = holds(&|issued| issued.expires_at() > now);
        wanted.clears = self.clears;
        wanted.fresh = fresh.then(|| token.clone());
        wanted.lasting = (lasting && wanted.rejected.is_none()).then_some(token);
    }

    pub(super) fn judge(
        &mut self,
        wanted: &Wanted,
        result: Result<Served, Error>,
        service: &Service,
        times: &[UnixTime],
    ) {
        let mut wanted = wanted.clone();
        if self.overtaken.remove(&wanted.number) {
            (wanted.fresh, wanted.lasting, wanted.certificate_is_sure) = (None, None, false);
        }
        let wanted = &wanted;
        self.totals.asked += 1;
        self.trace.push(match &result {
            Ok(served) => format!("{} {:?}", served.token, served.source),
            Err(error) => error.code().to_owned(),
        });
        match result {
            Ok(served) => self.served(wanted, &served, service, times),
            Err(error) => {
                self.totals.errors += 1;
                self.totals.panicked += u64::from(error.code() == "provider_panicked");
                assert!(wanted.fresh.is_none(), "seed {}: {wanted:?} lost a valid token: {error}", self.seed);
                let lost = error.is_transient()
                    && wanted.lasting.is_some()
                    && wanted.clears == self.clears
                    // Time passed while the caller waited, so the token must be valid at all these times.
                    && wanted.lasting.as_ref().is_some_and(|token| {
                        let issued = service.issued(token);
                        times.iter().all(|now| issued.expires_at() > now.as_secs() && issued.counts_from.as_secs() <= now.as_secs() + MARGIN)
                            && service.all(|it| it.began >= issued.began && key_of(it) == key_of(&issued)).len() == 1
                    });
                assert!(!lost, "seed {}: {wanted:?} saw a transient failure: {error}", self.seed);
            }
        }
    }

    fn served(&mut self, wanted: &Wanted, served: &Served, service: &Service, times: &[UnixTime]) {
        let seed = self.seed;
        let issued = service.issued(&served.token);
        let Issued { app, tenant, scope, path, bound, .. } = &issued;
        assert_eq!(
            (app, tenant, scope, path, *bound),
            (&wanted.app, &wanted.tenant, &wanted.scope, &wanted.path, wanted.bound),
            "seed {seed}: another's token"
        );
        assert_eq!(
            served.binding, issued.certificate,
            "seed {seed}: a token with the certificate of another token"
        );
        let by_own_request = served.source == Source::Service;
        let from_cache = matches!(served.source, Source::Cache | Source::Store);
        self.totals.from_store += u64::from(served.source == Source::Store);
        self.totals.two_legs += u64::from(wanted.two_legs);
        if let Some(claims) = &wanted.claims {
            assert!(issued.claims.as_ref() == Some(claims), "seed {seed}: the claims were not sent");
        }
        if wanted.forced || wanted.claims.is_some() {
            assert!(
                !from_cache && issued.number > wanted.since,
                "seed {seed}: an old token instead of a new token"
            );
        }
        assert_ne!(Some(&served.token), wanted.rejected.as_ref(), "seed {seed}: the rejected token");
        if let Some(fresh) = &wanted.fresh {
            assert!(
                !by_own_request,
                "seed {seed}: {fresh} was cached, but a request was sent: {wanted:?} {served:?} {issued:?} {:?} {times:?}",
                service.issued(fresh)
            );
        }
        if let (true, Some(fresh)) = (from_cache, &wanted.fresh) {
            let newest = service.issued(fresh).began;
            // While the token was doubted, an older stored token may have replaced it.
            let was_doubted = self.has_store && self.doubted.contains(fresh);
            assert!(
                issued.began >= newest || was_doubted,
                "seed {seed}: {issued:?} instead of the newer {fresh}"
            );
        }
        if from_cache && issued.certificate == wanted.certificate {
            assert!(issued.came > wanted.forgotten, "seed {seed}: {issued:?} was forgotten");
        }
        let failed = service.failed_since(wanted.since);
        if wanted.bound && issued.certificate != wanted.certificate {
            // The token belongs to an earlier certificate (the service was unavailable), or to a certificate that was
            // stored while the caller waited.
            let earlier = issued.number <= wanted.since;
            let since = times.iter().min().unwrap().as_secs().saturating_sub(REPRIEVE);
            let away = failed || service.failed_between(since, issued.expires_at());
            let may_be = away || !wanted.certificate_is_sure;
            assert!(!earlier || may_be, "seed {seed}: a token of an earlier certificate without an outage");
            self.totals.earlier += u64::from(earlier);
        }
        if from_cache {
            // Time may have passed since the cache returned the token, so the token must have been valid at one of
            // these times.
            let (from, to) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
            assert!(issued.is_over_at() > from.as_secs(), "seed {seed}: {issued:?} had expired at {from}");
            assert!(
                issued.counts_from.as_secs() <= to.as_secs() + MARGIN,
                "seed {seed}: {issued:?} has an unknown age at {to}"
            );
            let late = issued.expires_at() <= from.as_secs() + margin_of(&issued);
            if late && issued.number <= wanted.since {
                // If the clock is set back after a failure, its effect lasts longer by the same amount.
                let since = from.as_secs().saturating_sub(REPRIEVE);
                let away = failed || service.failed_between(since, issued.expires_at());
                assert!(away, "seed {seed}: {issued:?} in its last minutes without an outage");
                self.totals.in_outage += 1;
            }
            self.totals.hits += 1;
        } else if by_own_request {
            self.totals.fetched += 1;
        } else {
            self.totals.joined += 1;
        }
        let key = key_of(&issued);
        let gone = self.forgotten.get(&key).copied().unwrap_or(0).max(self.cleared);
        let newer = self.cached.get(&key).is_none_or(|known| service.issued(known).began <= issued.began);
        // After a `clear`, it is unknown whether a token that was requested before is cached.
        if newer && !from_cache && issued.came > gone {
            self.cached.insert(key, served.token.clone());
        }
    }

    pub(super) fn ended(self) -> (Totals, Vec<String>) {
        (self.totals, self.trace)
    }
}

/// Returns the remaining lifetime below which the cache requests a new token.
fn margin_of(issued: &Issued) -> u64 {
    MARGIN.min(issued.expires_at().saturating_sub(issued.counts_from.as_secs()) / 2)
}

fn key(wanted: &Wanted, certificate: Option<Thumbprint>) -> Key {
    let Wanted { app, tenant, scope, path, bound, .. } = wanted.clone();
    (app, tenant, scope, path, bound, certificate)
}

fn key_of(issued: &Issued) -> Key {
    let Issued { app, tenant, scope, path, bound, certificate, .. } = issued.clone();
    (app, tenant, scope, path, bound, certificate)
}
