//! The tokens in memory. Lookups take no lock. The memory has limits in tokens and in bytes. Each insertion removes at
//! most four tokens that expired an hour ago or earlier.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound_core::time::UnixTime;

use super::key::KeyRef;
use crate::cache::{Entry, TokenFacts};

/// The approximate memory that the map and the order need for each token, in bytes.
const PER_ENTRY: usize = 80;
/// The time for which an expired token remains in memory. If the clock jumps forward and back, the token is still
/// cached.
const EXPIRED_RETENTION: Duration = Duration::from_secs(60 * 60);
/// The maximum number of expired tokens that one `put` removes.
const SWEPT_AT_ONCE: usize = 4;

pub(super) struct Memory {
    tokens: papaya::HashMap<Entry, (), foldhash::quality::RandomState>,
    /// Writers and [`Memory::bytes`] take this lock. A lookup never takes it.
    order: Mutex<Order>,
    tokens_at_most: usize,
    bytes_at_most: usize,
}

/// The result of putting a token into memory.
pub(super) enum Put {
    Inserted {
        /// The number of other tokens that were evicted.
        evicted: usize,
    },
    /// The token in memory is not replaced.
    HasNewer,
    NoRoom,
}

/// An entry in the order of expiry, and then of the number of its request. These numbers repeat after 2^32 requests, so
/// the address in memory is compared last. The rank is not stored, because it would take 24 bytes for each token.
struct ByExpiry(Entry);

impl ByExpiry {
    fn rank(&self) -> (UnixTime, u32, usize) {
        let facts: &TokenFacts = &self.0;
        (facts.expiry.expires_at(), facts.expiry.serial(), std::ptr::from_ref(facts).addr())
    }
}

impl Ord for ByExpiry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for ByExpiry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByExpiry {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for ByExpiry {}

#[derive(Default)]
struct Order {
    soonest_first: BTreeSet<ByExpiry>,
    bytes: usize,
}

impl Memory {
    pub(super) fn limited(tokens_at_most: usize, bytes_at_most: usize) -> Self {
        let tokens = papaya::HashMap::builder().hasher(foldhash::quality::RandomState::default()).build();
        Self { tokens, order: Mutex::default(), tokens_at_most, bytes_at_most }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.order().bytes
    }

    pub(super) fn clear(&self) {
        let mut order = self.order();
        self.tokens.pin().clear();
        *order = Order::default();
        self.free();
    }

    /// Calls `look` with the token for `key` and returns the result.
    pub(super) fn look<T>(&self, key: &KeyRef<'_>, look: impl FnOnce(&Entry) -> Option<T>) -> Option<T> {
        self.tokens.pin().get_key_value(key).and_then(|(held, ())| look(held))
    }

    /// Puts a token into memory. It replaces an older token for the same key if `succeeds` returns true for the older
    /// token. A full memory evicts the tokens that expire first.
    pub(super) fn put(&self, held: Entry, succeeds: impl FnOnce(&Entry) -> bool, now: UnixTime) -> Put {
        let bytes = held.bytes() + PER_ENTRY;
        if self.tokens_at_most == 0 || bytes > self.bytes_at_most {
            return Put::NoRoom;
        }
        let mut order = self.order();
        let tokens = self.tokens.pin();
        if let Some((previous, ())) = tokens.get_key_value(&held) {
            if !succeeds(previous) {
                return Put::HasNewer;
            }
            order.remove(previous);
        }
        let mut is_swept = false;
        let swept = (0..SWEPT_AT_ONCE).map_while(|_| order.expired_since(now.minus(EXPIRED_RETENTION)));
        for held in swept {
            tokens.remove(&held);
            is_swept = true;
        }
        // The other tokens are evicted before the new token is inserted. The new token may expire first, but a caller
        // needs it.
        let mut evicted = 0;
        while order.soonest_first.len() >= self.tokens_at_most || order.bytes + bytes > self.bytes_at_most {
            let Some(other) = order.first() else { break };
            tokens.remove(&other);
            evicted += 1;
        }
        // `insert` replaces an equal key too, although its documentation denies this. Otherwise a forced refresh would
        // have no effect.
        tokens.insert(held.clone(), ());
        order.bytes += bytes;
        order.soonest_first.insert(ByExpiry(held));
        drop((tokens, order));
        // The map may free a replaced token later, because the successor uses the same certificate and its key. Freeing
        // at once is expensive: it interrupts every processor of this process.
        if is_swept || evicted > 0 {
            self.free();
        }
        Put::Inserted { evicted }
    }

    /// Removes the token for `key`. Returns whether the memory contained it.
    pub(super) fn remove(&self, key: &KeyRef<'_>) -> bool {
        let mut order = self.order();
        let tokens = self.tokens.pin();
        let known = tokens.remove_entry(key).map(|(held, ())| order.remove(held)).is_some();
        drop((tokens, order));
        self.free();
        known
    }

    /// Frees the removed tokens now. The map would free them later in a batch, but tokens and keys of certificates must
    /// not remain in memory.
    fn free(&self) {
        papaya::Guard::flush(&self.tokens.guard());
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        // No code panics while the lock is held, and every intermediate state is usable.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn remove(&mut self, held: &Entry) {
        if self.soonest_first.remove(&ByExpiry(held.clone())) {
            self.bytes -= held.bytes() + PER_ENTRY;
        }
    }

    /// Removes the token that expires first.
    fn first(&mut self) -> Option<Entry> {
        let ByExpiry(held) = self.soonest_first.pop_first()?;
        self.bytes -= held.bytes() + PER_ENTRY;
        Some(held)
    }

    /// Removes the token with the earliest expiry, if it had expired at `time`.
    fn expired_since(&mut self, time: UnixTime) -> Option<Entry> {
        let first = self.soonest_first.first();
        let has_expired = first.is_some_and(|ByExpiry(held)| held.expiry.expires_at() <= time);
        if has_expired { self.first() } else { None }
    }
}
