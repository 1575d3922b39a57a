//! Lookup, insertion and removal of tokens, in memory and in the store.

use certbound_core::time::UnixTime;

use super::key::{ClientKey, KeyRef};
use super::memory::Put;
use super::store::StoreAdapter;
use super::{Counted, Entry, LoadKey, Loaded, Obtained, Payload, RequestSeq, TokenCache};
use crate::clock::Clock;

impl TokenCache {
    /// Returns the number for the next request to the issuer.
    pub(crate) fn begin_request(&self) -> RequestSeq {
        self.inner.requests.begin()
    }

    /// Returns the fresh token for `key`, and whether the caller must start a refresh.
    pub(crate) fn fresh(&self, key: &KeyRef<'_>, now: UnixTime) -> Option<(Entry, bool)> {
        self.inner.memory.look(key, |entry| {
            let expiry = &entry.expiry;
            if !expiry.is_fresh(now) {
                return None;
            }
            self.count(Counted::Hit);
            Some((entry.clone(), self.inner.settings.ahead && expiry.take_refresh(now)))
        })
    }

    /// Returns the token for `key`, even if it has expired.
    pub(crate) fn any(&self, key: &KeyRef<'_>) -> Option<Entry> {
        self.inner.memory.look(key, |entry| Some(entry.clone()))
    }

    /// Returns the fresh token for `key`. Since the caller's lookup, another load may have put it into memory.
    pub(super) fn loaded_meanwhile(&self, key: &KeyRef<'_>, now: UnixTime) -> Option<Loaded> {
        let entry = self.any(key).filter(|entry| entry.expiry.is_fresh(now))?;
        Some((entry, Obtained::FROM_CACHE))
    }

    /// Returns the fresh token from the store. A token that is usable but not fresh is only put into memory, for an
    /// outage.
    pub(super) async fn load_from_store(
        &self,
        wanted: &LoadKey,
        payload: &Payload,
        clock: &dyn Clock,
    ) -> Option<Loaded> {
        let key = wanted.token.as_ref();
        let store = self.store_of(key.head.client)?;
        let (before, seq) = (clock.monotonic(), self.begin_request().of_store());
        let entry = store.load(&key, payload, seq).await;
        // The time may have changed during the load.
        let now = clock.now();
        let entry = entry.filter(|entry| entry.expiry.is_usable(now) && !wanted.rejects(entry))?;
        // A fresh token in memory is not replaced: after a change of a clock, the order of the two tokens is unknown.
        // If the token in memory is not fresh, another process may have stored a newer token.
        let succeeds = |previous: &Entry| {
            let came = |entry: &Entry| entry.expiry.counts_from();
            let is_fresh = previous.expiry.is_fresh(now) && !wanted.rejects(previous);
            !is_fresh && (!previous.expiry.is_usable(now) || came(&entry) > came(previous))
        };
        if let Put::HasNewer = self.put(entry.clone(), succeeds, now) {
            return self.loaded_meanwhile(&key, now).filter(|(entry, _)| !wanted.rejects(entry));
        }
        entry.expiry.is_fresh(now).then(|| {
            self.count(Counted::FromStore);
            (entry, Obtained::from_store(clock.monotonic().saturating_sub(before)))
        })
    }

    /// Puts a new token into memory and saves it to the store in the background.
    pub(super) fn keep(&self, entry: &Entry, now: UnixTime) {
        let succeeds = |previous: &Entry| entry.expiry.is_newer_than(&previous.expiry);
        if let Put::HasNewer = self.put(entry.clone(), succeeds, now) {
            return;
        }
        if let Some(store) = self.store_of(entry.key.client()) {
            store.save(entry);
        }
    }

    /// Removes the token for `key` from memory, and in the background from the store. Returns whether the token was in
    /// memory.
    pub(crate) fn remove(&self, key: &KeyRef<'_>, now: UnixTime) -> bool {
        let known = self.inner.memory.remove(key);
        if let Some(store) = self.store_of(key.head.client) {
            store.forget(key, now);
        }
        known
    }

    /// Returns the store. The result is `None` if the cache has no store, or if the tokens of the client must not be
    /// stored.
    fn store_of(&self, client: &ClientKey) -> Option<&StoreAdapter> {
        self.store().filter(|_| !client.is_ephemeral())
    }

    /// Puts a token into memory. It replaces an older token for the same key if `succeeds` returns true for the older
    /// token.
    fn put(&self, entry: Entry, succeeds: impl FnOnce(&Entry) -> bool, now: UnixTime) -> Put {
        let put = self.inner.memory.put(entry, succeeds, now);
        if let Put::Inserted { evicted } = put {
            self.count(Counted::Stored);
            (0..evicted).for_each(|_| self.count(Counted::Evicted));
        }
        put
    }
}
