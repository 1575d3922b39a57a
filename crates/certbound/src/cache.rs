//! Tokens in memory: found without a lock, bounded, gone when they expire.

pub(crate) mod flight;
pub(crate) mod key;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certbound_core::time::UnixTime;

use self::flight::Flights;
use self::key::{CacheKey, KeyRef};
use crate::token::Held;

/// A token is served while more than this is left of it.
pub(crate) const MARGIN: Duration = Duration::from_secs(5 * 60);

/// Tokens in memory. Clones are one cache; give them to several clients to share it.
///
/// Bounded: past its capacity the tokens that end soonest go first. A token is served while more than five minutes are
/// left of it. Nothing is written to disk. Tokens of different certificates, tenants, clients, scopes and kinds never
/// meet.
#[derive(Clone)]
pub struct TokenCache {
    inner: Arc<Inner>,
}

struct Inner {
    tokens: papaya::HashMap<CacheKey, Entry, foldhash::quality::RandomState>,
    /// Only writers take this lock; a hit never does.
    order: Mutex<Order>,
    capacity: usize,
    flights: Flights,
}

#[derive(Clone)]
struct Entry {
    held: Held,
    expires_at: UnixTime,
    /// Its place in `Order`.
    place: Place,
}

type Place = (UnixTime, u64);

#[derive(Default)]
struct Order {
    soonest_first: BTreeMap<Place, CacheKey>,
    next: u64,
}

impl TokenCache {
    /// How many tokens a cache holds unless told otherwise.
    pub const DEFAULT_CAPACITY: usize = 10_000;

    /// A cache of the default capacity.
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY)
    }

    /// A cache of at most `capacity` tokens, at least one.
    pub fn with_capacity(capacity: usize) -> Self {
        let tokens = papaya::HashMap::builder().hasher(foldhash::quality::RandomState::default()).build();
        let capacity = capacity.max(1);
        Self {
            inner: Arc::new(Inner { tokens, order: Mutex::default(), capacity, flights: Flights::default() }),
        }
    }

    /// How many tokens are held, expired ones that nobody asked for since included.
    pub fn len(&self) -> usize {
        self.inner.tokens.len()
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets every token. Acquisitions under way still end and store theirs.
    pub fn clear(&self) {
        let mut order = self.order();
        self.inner.tokens.pin().clear();
        order.soonest_first.clear();
    }

    /// The token for `key`, if more than the margin is left of it.
    pub(crate) fn live(&self, key: &KeyRef<'_>, now: UnixTime) -> Option<Held> {
        let tokens = self.inner.tokens.pin();
        let entry = tokens.get(key)?;
        (entry.expires_at > now.plus(MARGIN)).then(|| entry.held.clone())
    }

    /// Whether there was a token for `key`, live or not.
    pub(crate) fn had(&self, key: &KeyRef<'_>) -> bool {
        self.inner.tokens.pin().contains_key(key)
    }

    /// The token for `key`, live or not.
    pub(crate) fn kept(&self, key: &KeyRef<'_>) -> Option<Held> {
        self.inner.tokens.pin().get(key).map(|entry| entry.held.clone())
    }

    /// Stores a token, making room by dropping those that end soonest.
    pub(crate) fn put(&self, key: CacheKey, held: Held) {
        let expires_at = held.body().expires_at;
        let mut order = self.order();
        let place = (expires_at, order.next);
        order.next += 1;
        let tokens = self.inner.tokens.pin();
        if let Some(previous) = tokens.insert(key.clone(), Entry { held, expires_at, place }) {
            order.soonest_first.remove(&previous.place);
        }
        order.soonest_first.insert(place, key);
        while order.soonest_first.len() > self.inner.capacity {
            let Some((_, key)) = order.soonest_first.pop_first() else { break };
            tokens.remove(&key);
        }
    }

    pub(crate) fn flights(&self) -> &Flights {
        &self.inner.flights
    }

    fn order(&self) -> std::sync::MutexGuard<'_, Order> {
        // Nothing can panic while it is held, and every state it passes through is usable.
        self.inner.order.lock().unwrap_or_else(PoisonError::into_inner)
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
            .field("capacity", &self.inner.capacity)
            .finish()
    }
}
