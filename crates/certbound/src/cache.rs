//! Tokens in memory: found without a lock, bounded, gone some time after their end.

mod end;
pub(crate) mod flight;
pub(crate) mod key;
mod statistics;
mod store;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use self::end::ByEnd;
use self::flight::{FlightKey, Flights, Load};
use self::key::KeyRef;
pub use self::statistics::CacheStatistics;
pub(crate) use self::statistics::Counted;
use self::statistics::Counters;
use self::store::Shelf;
pub use self::store::{SealedStore, SealingKey, StoreEntry, StoreError, StoreKey, TokenStore};
use crate::binding::Binding;
use crate::error::Error;
use crate::token::{Bond, Held, Kind, Landed, LandedFrom, Origins};
use crate::transport::AnyTransport;

/// What the map takes for each token, beside the token itself.
const PER_ENTRY: usize = 80;
/// How long a token that is over may stay, so that a clock that jumped and came back costs nothing.
const LINGERS: Duration = Duration::from_secs(60 * 60);
/// How many of those one `put` takes away at most.
const SWEPT_AT_ONCE: usize = 4;

/// Tokens in memory. Clones are one cache; give them to several clients to share it.
///
/// Bounded by count and by bytes: past either, the tokens that end soonest go first. A token is served while more than
/// five minutes are left of it, and to its end while the token service is away. Nothing is written to disk, unless
/// [a store](TokenCache::with_store) does. Tokens of
/// different certificates, tenants, clients, scopes and kinds never meet.
///
/// ```
/// use certbound::TokenCache;
///
/// let cache = TokenCache::with_limits(1_000, 4 * 1024 * 1024);
/// assert_eq!((cache.len(), cache.statistics().hits), (0, 0));
/// ```
#[derive(Clone)]
pub struct TokenCache {
    inner: Arc<Inner>,
}

/// A token that may be in the store, and what it takes to use it.
pub(crate) struct Wanted<'a> {
    pub(crate) key: KeyRef<'a>,
    pub(crate) certificate: Option<&'a Binding>,
    pub(crate) transport: &'a Arc<dyn AnyTransport>,
    pub(crate) origins: &'a Origins,
}

impl Wanted<'_> {
    /// What a bound token is held together with.
    fn bond(&self) -> Option<Bond> {
        let binding = self.certificate.filter(|_| self.key.kind == Kind::Bound)?;
        Some(Bond { binding: binding.clone(), transport: Arc::clone(self.transport) })
    }
}

struct Inner {
    tokens: papaya::HashMap<Held, (), foldhash::quality::RandomState>,
    /// Only writers take this lock; a hit never does.
    order: Mutex<Order>,
    tokens_at_most: usize,
    bytes_at_most: usize,
    shelf: Option<Shelf>,
    flights: Flights,
    counters: Counters,
}

#[derive(Default)]
struct Order {
    soonest_first: BTreeSet<ByEnd>,
    bytes: usize,
}

impl TokenCache {
    /// How many tokens a cache holds unless told otherwise.
    pub const DEFAULT_CAPACITY: usize = 10_000;
    /// How many bytes of tokens a cache holds unless told otherwise: 64 MiB.
    pub const DEFAULT_BYTES: usize = 64 * 1024 * 1024;

    /// A cache of the default limits.
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY)
    }

    /// A cache of at most `capacity` tokens, at least one, and of the default bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_limits(capacity, Self::DEFAULT_BYTES)
    }

    /// A cache of at most `tokens`, at least one, that take at most `bytes`. A token that takes more by itself is not kept.
    pub fn with_limits(tokens: usize, bytes: usize) -> Self {
        Self::limited(tokens.max(1), bytes, None)
    }

    /// A cache that keeps nothing: each acquisition asks the service, but those under way at the same time for the same
    /// token still share one request.
    pub fn none() -> Self {
        Self::limited(0, 0, None)
    }

    /// An empty cache of the same limits with `store` behind it: asked before the token service is, and told what that
    /// answers. [`TokenCache::none`] with a store keeps nothing in memory.
    #[must_use]
    pub fn with_store(self, store: impl TokenStore) -> Self {
        Self::limited(self.inner.tokens_at_most, self.inner.bytes_at_most, Some(Shelf::new(store)))
    }

    fn limited(tokens_at_most: usize, bytes_at_most: usize, shelf: Option<Shelf>) -> Self {
        let tokens = papaya::HashMap::builder().hasher(foldhash::quality::RandomState::default()).build();
        let (order, flights, counters) = (Mutex::default(), Flights::default(), Counters::default());
        let inner = Inner { tokens, order, tokens_at_most, bytes_at_most, shelf, flights, counters };
        Self { inner: Arc::new(inner) }
    }

    /// How many tokens are held, expired ones that nobody asked for since included.
    pub fn len(&self) -> usize {
        self.inner.tokens.len()
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much memory the tokens take, in bytes; about, since allocators round.
    pub fn bytes(&self) -> usize {
        self.order().bytes
    }

    /// What the cache did since it was made.
    pub fn statistics(&self) -> CacheStatistics {
        self.inner.counters.read(self.len(), self.bytes())
    }

    /// Forgets every token in memory; a store keeps its own. Acquisitions under way still end and store theirs.
    pub fn clear(&self) {
        let mut order = self.order();
        self.inner.tokens.pin().clear();
        *order = Order::default();
        self.free();
    }

    /// Whether it keeps nothing.
    pub(crate) fn is_none(&self) -> bool {
        self.inner.tokens_at_most == 0 && self.inner.shelf.is_none()
    }

    /// The token for `key` that is served without a question, and whether the caller is to refresh it.
    pub(crate) fn live(&self, key: &KeyRef<'_>, now: UnixTime) -> Option<(Held, bool)> {
        let tokens = self.inner.tokens.pin();
        let (held, ()) = tokens.get_key_value(key)?;
        let life = held.life();
        if !life.serves(now) {
            return None;
        }
        self.count(Counted::Hit);
        Some((held.clone(), life.take_refresh(now)))
    }

    /// The token for `key` while the service is away: to its very end. Without one, that of the newest certificate among
    /// `earlier` that has one, to be used with its own certificate.
    pub(crate) fn in_outage(&self, key: &KeyRef<'_>, earlier: &[Thumbprint], now: UnixTime) -> Option<Held> {
        let lasting = |key: &KeyRef<'_>| self.kept(key).filter(|held| held.life().outlast(now));
        let of = |thumbprint: &Thumbprint| lasting(&KeyRef { thumbprint: Some(*thumbprint), ..*key });
        let held = lasting(key).or_else(|| earlier.iter().find_map(of))?;
        self.count(Counted::InOutage);
        Some(held)
    }

    /// The token for `key` of a flight that landed between a caller's look-up and the start of its own flight.
    pub(crate) fn landed(&self, key: &KeyRef<'_>, now: UnixTime) -> Option<Landed> {
        let held = self.kept(key).filter(|held| held.life().serves(now))?;
        Some(Landed { held, from: LandedFrom::Cache })
    }

    /// Fetches the token for `flight` while its predecessor serves, which it goes on to do while the service is away.
    pub(crate) async fn refresh(
        &self,
        flight: FlightKey,
        load: impl FnOnce() -> Load,
        now: impl FnOnce() -> UnixTime,
    ) -> Result<(), Error> {
        self.count(Counted::Refresh);
        let token = flight.token.clone();
        let result = self.inner.flights.fly(flight, load).await.0;
        if let Err(error) = &result {
            self.count(Counted::FailedRefresh);
            if let (true, Some(held)) = (error.is_transient(), self.kept(&token.as_ref())) {
                held.life().outlast(now());
            }
        }
        result.map(drop)
    }

    /// Whether there was a token for `key`, live or not.
    pub(crate) fn had(&self, key: &KeyRef<'_>) -> bool {
        self.inner.tokens.pin().contains_key(key)
    }

    /// The token for `key`, live or not.
    pub(crate) fn kept(&self, key: &KeyRef<'_>) -> Option<Held> {
        self.inner.tokens.pin().get_key_value(key).map(|(held, ())| held.clone())
    }

    /// The token that the store has. One that is in its last minutes is kept for an outage only.
    pub(crate) async fn shelved(
        &self,
        wanted: Wanted<'_>,
        rejects: impl Fn(&Held) -> bool,
        now: UnixTime,
    ) -> Option<Landed> {
        let shelf = self.inner.shelf.as_ref()?;
        let held = match shelf.load(wanted).await {
            Ok(held) => held.filter(|held| held.life().lasts(now) && !rejects(held))?,
            Err(error) => {
                self.store_failed(&error);
                return None;
            }
        };
        self.put(held.clone(), now);
        let serves = held.life().serves(now);
        serves.then(|| {
            self.count(Counted::FromStore);
            Landed { held, from: LandedFrom::Store }
        })
    }

    /// Stores a new token, behind the cache too where there is a store.
    pub(crate) async fn keep(&self, held: &Held, now: UnixTime) {
        self.put(held.clone(), now);
        if let Some(shelf) = &self.inner.shelf
            && let Err(error) = shelf.save(held).await
        {
            self.store_failed(&error);
        }
    }

    fn store_failed(&self, error: &StoreError) {
        self.count(Counted::StoreFailed);
        tracing::warn!(%error, "the token service is asked instead, and tokens are kept in memory only");
    }

    /// Stores a token in the place of its predecessor, making room by dropping those that end soonest.
    pub(crate) fn put(&self, held: Held, now: UnixTime) {
        let bytes = held.bytes() + PER_ENTRY;
        if self.inner.tokens_at_most == 0 || bytes > self.inner.bytes_at_most {
            return;
        }
        let mut order = self.order();
        let tokens = self.inner.tokens.pin();
        if let Some((previous, ())) = tokens.get_key_value(&held) {
            order.remove(previous);
        }
        tokens.insert(held.clone(), ());
        order.bytes += bytes;
        order.soonest_first.insert(ByEnd(held));
        self.count(Counted::Stored);

        let swept = (0..SWEPT_AT_ONCE).map_while(|_| order.over_since(now.minus(LINGERS)));
        for held in swept {
            tokens.remove(&held);
        }
        while order.soonest_first.len() > self.inner.tokens_at_most || order.bytes > self.inner.bytes_at_most
        {
            let Some(held) = order.first() else { break };
            tokens.remove(&held);
            self.count(Counted::Evicted);
        }
        self.free();
    }

    /// The map frees what was taken from it in batches. A token, and the key of its certificate, do not wait for the next.
    fn free(&self) {
        papaya::Guard::flush(&self.inner.tokens.guard());
    }

    /// Forgets the token for `key`; tells whether there was one.
    pub(crate) fn remove(&self, key: &KeyRef<'_>) -> bool {
        let mut order = self.order();
        let tokens = self.inner.tokens.pin();
        let known = tokens.remove_entry(key).map(|(held, ())| order.remove(held)).is_some();
        drop((tokens, order));
        self.free();
        if let Some(shelf) = &self.inner.shelf {
            shelf.forget(key);
        }
        known
    }

    pub(crate) fn flights(&self) -> &Flights {
        &self.inner.flights
    }

    pub(crate) fn count(&self, what: Counted) {
        self.inner.counters.count(what);
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        // Nothing can panic while it is held, and every state it passes through is usable.
        self.inner.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn remove(&mut self, held: &Held) {
        if self.soonest_first.remove(&ByEnd(held.clone())) {
            self.bytes -= held.bytes() + PER_ENTRY;
        }
    }

    /// Takes the one that ends soonest.
    fn first(&mut self) -> Option<Held> {
        let ByEnd(held) = self.soonest_first.pop_first()?;
        self.bytes -= held.bytes() + PER_ENTRY;
        Some(held)
    }

    /// Takes the one that ends soonest, if it was over at `time`.
    fn over_since(&mut self, time: UnixTime) -> Option<Held> {
        let over = self.soonest_first.first().is_some_and(|ByEnd(held)| held.life().expires_at() <= time);
        if over { self.first() } else { None }
    }
}

impl Default for TokenCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("len", &self.len())
            .field("capacity", &self.inner.tokens_at_most)
            .field("bytes", &self.bytes())
            .finish()
    }
}
