//! The cache of tokens: what is in memory, what is under way, and what is in a store behind.

mod by_expiry;
mod contents;
mod entry;
mod expiry;
pub(crate) mod key;
mod load;
mod load_key;
mod memory;
mod outage;
mod request_seq;
pub(crate) mod single_flight;
mod source;
mod statistics;
mod store;

use std::fmt;
use std::sync::Arc;

pub(crate) use self::entry::{
    CachedToken, Connections, Entry, Loaded, LoadedFrom, Origin, Origins, Payload, Rare, Report, TokenBody,
};
pub(crate) use self::expiry::Expiry;
pub(crate) use self::key::Kind;
pub(crate) use self::load::LoadRequest;
pub(crate) use self::load_key::LoadKey;
use self::memory::Memory;
pub(crate) use self::request_seq::RequestSeq;
use self::request_seq::Requests;
use self::single_flight::SingleFlight;
pub(crate) use self::source::Obtained;
pub use self::source::Source;
pub use self::statistics::CacheStatistics;
pub(crate) use self::statistics::Counted;
use self::statistics::Counters;
use self::store::StoreAdapter;
pub use self::store::{SealedStore, SealingKey, StoreEntry, StoreError, StoreKey, TokenStore};
use crate::error::Error;

/// Tokens in memory. Clones are one cache; give them to several clients to share it.
///
/// Bounded by count and by bytes: past either, the tokens that end soonest go first. A token is served while more than
/// five minutes are left of it, or half of what was left when it came, and to its end while the token service is away.
/// Nothing is written to disk, unless [a store](TokenCache::with_store) does. Tokens of different certificates, tenants,
/// clients, scopes and kinds never meet. Use it, and its clients, in one async runtime.
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

struct Inner {
    memory: Memory,
    requests: Requests,
    /// Whether tokens are fetched anew while the old ones still serve.
    ahead: bool,
    store: Option<Arc<StoreAdapter>>,
    loads: SingleFlight<LoadKey, Result<Loaded, Error>>,
    counters: Counters,
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
        Self::of(Memory::limited(tokens.max(1), bytes), Requests::random(), true, None)
    }

    /// A cache that keeps nothing: each acquisition asks the service, but those under way at the same time for the same
    /// token still share one request.
    pub fn none() -> Self {
        Self::of(Memory::limited(0, 0), Requests::random(), true, None)
    }

    /// An empty cache of the same limits with `store` behind it: asked before the token service is, and told what that
    /// answers. [`TokenCache::none`] with a store keeps nothing in memory.
    #[must_use]
    pub fn with_store(self, store: impl TokenStore) -> Self {
        let Inner { memory, requests, ahead, .. } = &*self.inner;
        Self::of(memory.emptied(), requests.anew(), *ahead, Some(Arc::new(StoreAdapter::new(store))))
    }

    /// An empty cache of the same limits and store that fetches no token ahead of its last five minutes: for a program that
    /// ends before a refresh in the background would.
    #[must_use]
    pub fn without_refresh_ahead(self) -> Self {
        let Inner { memory, requests, store, .. } = &*self.inner;
        Self::of(memory.emptied(), requests.anew(), false, store.clone())
    }

    /// An empty cache of the same limits and store, whose moments of refresh follow from `seed`: for tests that are to be
    /// repeated. By default they are random, so that programs that started together do not ask together.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        let Inner { memory, ahead, store, .. } = &*self.inner;
        Self::of(memory.emptied(), Requests::seeded(seed), *ahead, store.clone())
    }

    fn of(memory: Memory, requests: Requests, ahead: bool, store: Option<Arc<StoreAdapter>>) -> Self {
        let (loads, counters) = (SingleFlight::default(), Counters::default());
        Self { inner: Arc::new(Inner { memory, requests, ahead, store, loads, counters }) }
    }

    /// How many tokens are held, expired ones that nobody asked for since included.
    pub fn len(&self) -> usize {
        self.inner.memory.len()
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much memory the tokens take, in bytes; about, since allocators round.
    pub fn bytes(&self) -> usize {
        self.inner.memory.bytes()
    }

    /// What the cache did since it was made.
    pub fn statistics(&self) -> CacheStatistics {
        let store_failures = self.inner.store.as_ref().map_or(0, |store| store.failures());
        self.inner.counters.read(self.len(), self.bytes(), store_failures)
    }

    /// Waits until the store has every token that came so far, or failed to keep it, at most five seconds; without a store,
    /// for nothing.
    ///
    /// For a program that is about to end: tokens are written when those who asked for them have them. What is not written
    /// by then goes on to be, also after the last handle, for as long as the runtime runs and the store does not fail.
    pub async fn flush(&self) {
        if let Some(store) = &self.inner.store {
            store.flush().await;
        }
    }

    /// Forgets every token in memory; a store keeps its own. Acquisitions under way still end and store theirs.
    pub fn clear(&self) {
        self.inner.memory.clear();
    }

    /// Whether it keeps nothing.
    pub(crate) fn is_none(&self) -> bool {
        self.inner.memory.capacity() == 0 && self.inner.store.is_none()
    }

    pub(crate) fn count(&self, what: Counted) {
        self.inner.counters.count(what);
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
            .field("capacity", &self.inner.memory.capacity())
            .field("bytes", &self.bytes())
            .finish()
    }
}
