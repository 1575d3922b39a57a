//! The cache of tokens: tokens in memory, running loads, and an optional store.

mod contents;
mod entry;
mod expiry;
pub(crate) mod key;
mod load;
mod load_key;
mod memory;
mod monitor;
mod outage;
mod request_seq;
pub(crate) mod single_flight;
mod source;
mod statistics;
mod store;

use std::fmt;
use std::sync::Arc;

pub(crate) use self::entry::{
    Connections, Entry, Members, Origin, Origins, Payload, Report, SharedToken, TokenFacts,
};
pub(crate) use self::expiry::Expiry;
pub(crate) use self::key::Kind;
pub(crate) use self::load::LoadRequest;
pub(crate) use self::load_key::LoadKey;
use self::memory::Memory;
pub use self::monitor::CacheMonitor;
pub(crate) use self::request_seq::RequestSeq;
use self::request_seq::Requests;
use self::single_flight::SingleFlight;
pub use self::source::Source;
pub(crate) use self::source::{Loaded, Obtained};
pub use self::statistics::CacheStatistics;
pub(crate) use self::statistics::Counted;
use self::statistics::Counters;
use self::store::StoreAdapter;
#[cfg(feature = "sealed-store")]
pub use self::store::{SealedStore, SealingKey};
pub use self::store::{StoreEntry, StoreError, StoreKey, TokenStore};
use crate::error::Error;

/// A cache of tokens in memory. Clones share their tokens. To share a cache among clients, pass a clone to each client.
///
/// The cache limits the number of tokens and their memory in bytes. A full cache evicts the tokens that expire first.
/// The cache returns a token without a request while more than five minutes of the lifetime are left. For a lifetime
/// under ten minutes the limit is half of the lifetime. During an outage the cache returns a token until it expires. It
/// writes nothing to disk without [a store](TokenCache::with_store). It never mixes tokens of different certificates,
/// tenants, clients, scopes or kinds. Use a cache and its clients in one async runtime only.
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
    settings: Settings,
    memory: Memory,
    requests: Requests,
    loads: SingleFlight<LoadKey, Result<Loaded, Error>>,
    counters: Counters,
}

#[derive(Clone)]
struct Settings {
    /// The limits of the memory.
    tokens: usize,
    bytes: usize,
    /// The seed of the times of refresh. By default it is random.
    seed: Option<u64>,
    /// Whether new tokens are requested in the background while the old tokens are fresh.
    ahead: bool,
    store: Option<Arc<StoreAdapter>>,
}

impl TokenCache {
    /// The default limit of the number of tokens.
    pub const DEFAULT_CAPACITY: usize = 10_000;
    /// The default limit of the memory for tokens: 64 MiB.
    pub const DEFAULT_BYTES: usize = 64 * 1024 * 1024;

    /// Returns an empty cache with the default limits.
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY)
    }

    /// Returns an empty cache for at most `capacity` tokens (at least one), with the default limit in bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_limits(capacity, Self::DEFAULT_BYTES)
    }

    /// Returns an empty cache for at most `tokens` tokens (at least one) and `bytes` bytes. A token that is larger than
    /// `bytes` is not cached.
    pub fn with_limits(tokens: usize, bytes: usize) -> Self {
        Self::of(Settings { tokens: tokens.max(1), bytes, seed: None, ahead: true, store: None })
    }

    /// Returns a cache that stores no tokens. Each acquisition sends a request, but parallel acquisitions of the same
    /// token share one request.
    pub fn none() -> Self {
        Self::of(Settings { tokens: 0, bytes: 0, seed: None, ahead: true, store: None })
    }

    /// Returns an empty cache with the same limits and a store. On a miss the cache reads the store before it sends a
    /// request, and it saves each new token in the store. [`TokenCache::none`] with a store has no tokens in memory.
    #[must_use]
    pub fn with_store(self, store: impl TokenStore) -> Self {
        Self::of(Settings { store: Some(Arc::new(StoreAdapter::new(store))), ..self.settings() })
    }

    /// Returns an empty cache with the same limits and store, but without background refreshes. Use this setting in a
    /// program that ends too early for a background refresh.
    #[must_use]
    pub fn without_refresh_ahead(self) -> Self {
        Self::of(Settings { ahead: false, ..self.settings() })
    }

    /// Returns an empty cache with the same limits and store, whose times of refresh depend only on `seed`. Use this
    /// setting for tests that must be repeatable. By default the times are random, so that programs with the same start
    /// time do not send requests together.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self::of(Settings { seed: Some(seed), ..self.settings() })
    }

    fn of(settings: Settings) -> Self {
        let memory = Memory::limited(settings.tokens, settings.bytes);
        let requests = Requests::new(settings.seed);
        let (loads, counters) = (SingleFlight::default(), Counters::default());
        Self { inner: Arc::new(Inner { settings, memory, requests, loads, counters }) }
    }

    fn settings(&self) -> Settings {
        self.inner.settings.clone()
    }

    fn store(&self) -> Option<&StoreAdapter> {
        self.inner.settings.store.as_deref()
    }

    /// Returns the number of tokens in memory. The number includes expired tokens that were not removed yet.
    pub fn len(&self) -> usize {
        self.inner.memory.len()
    }

    /// Returns whether no token is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the approximate memory of the tokens, in bytes.
    pub fn bytes(&self) -> usize {
        self.inner.memory.bytes()
    }

    /// Returns the counters of this cache since its creation.
    pub fn statistics(&self) -> CacheStatistics {
        let store_failures = self.store().map_or(0, StoreAdapter::failures);
        self.inner.counters.read(self.len(), self.bytes(), store_failures)
    }

    /// Returns a reader of these counters that does not keep the cache in memory.
    pub fn monitor(&self) -> CacheMonitor {
        CacheMonitor::new(&self.inner)
    }

    /// Waits until the store has saved, or failed to save, all tokens so far. The wait takes at most five seconds.
    /// Without a store the function returns at once.
    ///
    /// Call `flush` at the end of a program: tokens are saved in the background, and their callers do not wait. A token
    /// that is not saved in time is saved later, even after the drop of the cache's last clone. The runtime must still
    /// run, and the store must not fail.
    pub async fn flush(&self) {
        if let Some(store) = self.store() {
            store.flush().await;
        }
    }

    /// Removes every token from memory, but not from the store. Running acquisitions still cache their tokens.
    pub fn clear(&self) {
        self.inner.memory.clear();
    }

    /// Returns whether the cache has neither memory nor a store.
    pub(crate) fn is_none(&self) -> bool {
        self.inner.settings.tokens == 0 && self.store().is_none()
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
            .field("capacity", &self.inner.settings.tokens)
            .field("bytes", &self.bytes())
            .finish()
    }
}
