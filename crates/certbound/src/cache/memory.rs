//! The tokens themselves: found without a lock, bounded, gone some time after their end.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound_core::time::UnixTime;

use super::by_expiry::ByExpiry;
use super::key::KeyRef;
use crate::cache::Entry;

/// What the map takes for each token, beside the token itself.
const PER_ENTRY: usize = 80;
/// How long a token that is over may stay, so that a clock that jumped and came back costs nothing.
const LINGERS: Duration = Duration::from_secs(60 * 60);
/// How many of those one `put` takes away at most.
const SWEPT_AT_ONCE: usize = 4;

pub(super) struct Memory {
    tokens: papaya::HashMap<Entry, (), foldhash::quality::RandomState>,
    /// Only writers take this lock; a hit never does.
    order: Mutex<Order>,
    tokens_at_most: usize,
    bytes_at_most: usize,
}

/// What became of a token.
pub(super) enum Put {
    Kept {
        /// How many others had to go for it.
        evicted: usize,
    },
    /// The one that is there is newer.
    HasNewer,
    NoRoom,
}

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

    /// One of the same limits, with nothing in it.
    pub(super) fn emptied(&self) -> Self {
        Self::limited(self.tokens_at_most, self.bytes_at_most)
    }

    pub(super) fn capacity(&self) -> usize {
        self.tokens_at_most
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

    /// What `look` makes of the token for `key`.
    pub(super) fn look<T>(&self, key: &KeyRef<'_>, look: impl FnOnce(&Entry) -> Option<T>) -> Option<T> {
        self.tokens.pin().get_key_value(key).and_then(|(held, ())| look(held))
    }

    /// Puts a token in the place of its predecessor if it `succeeds` that, making room by dropping those that end soonest.
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
        let mut gone = false;
        let swept = (0..SWEPT_AT_ONCE).map_while(|_| order.over_since(now.minus(LINGERS)));
        for held in swept {
            tokens.remove(&held);
            gone = true;
        }
        // Others go before it comes: it may be the one that ends soonest, and is what somebody wants.
        let mut evicted = 0;
        while order.soonest_first.len() >= self.tokens_at_most || order.bytes + bytes > self.bytes_at_most {
            let Some(other) = order.first() else { break };
            tokens.remove(&other);
            evicted += 1;
        }
        // The map replaces the key too, where there was an equal one: else a forced refresh would change nothing.
        tokens.insert(held.clone(), ());
        order.bytes += bytes;
        order.soonest_first.insert(ByExpiry(held));
        drop((tokens, order));
        // A token that was only replaced has the certificate of its successor, and may wait: to free interrupts every
        // processor that runs this process.
        if gone || evicted > 0 {
            self.free();
        }
        Put::Kept { evicted }
    }

    /// Takes the token for `key` away; tells whether there was one.
    pub(super) fn remove(&self, key: &KeyRef<'_>) -> bool {
        let mut order = self.order();
        let tokens = self.tokens.pin();
        let known = tokens.remove_entry(key).map(|(held, ())| order.remove(held)).is_some();
        drop((tokens, order));
        self.free();
        known
    }

    /// The map frees what was taken from it in batches. A token, and the key of its certificate, do not wait for the next.
    fn free(&self) {
        papaya::Guard::flush(&self.tokens.guard());
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        // Nothing can panic while it is held, and every state it passes through is usable.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn remove(&mut self, held: &Entry) {
        if self.soonest_first.remove(&ByExpiry(held.clone())) {
            self.bytes -= held.bytes() + PER_ENTRY;
        }
    }

    /// Takes the one that ends soonest.
    fn first(&mut self) -> Option<Entry> {
        let ByExpiry(held) = self.soonest_first.pop_first()?;
        self.bytes -= held.bytes() + PER_ENTRY;
        Some(held)
    }

    /// Takes the one that ends soonest, if it was over at `time`.
    fn over_since(&mut self, time: UnixTime) -> Option<Entry> {
        let over =
            self.soonest_first.first().is_some_and(|ByExpiry(held)| held.expiry().expires_at() <= time);
        if over { self.first() } else { None }
    }
}
