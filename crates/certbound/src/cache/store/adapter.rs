//! The adapter between the cache and a store. It limits the time, checks every entry, and ignores failures.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use certbound_core::time::UnixTime;
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::entry;
use super::writer::Writer;
use super::{AnyStore, StoreError, StoreKey, TokenStore};
use crate::cache::key::KeyRef;
use crate::cache::{Entry, Payload, RequestSeq};
use crate::span;

/// The time limit for one operation of a store. A new request to the token service is better than waiting longer.
const LIMIT: Duration = Duration::from_secs(2);

/// The time limit of a flush.
const FLUSH: Duration = Duration::from_secs(5);

pub(super) type AnyShared = Arc<dyn AnyStore>;

pub(crate) struct StoreAdapter {
    store: AnyShared,
    writer: Arc<Writer>,
}

impl StoreAdapter {
    pub(crate) fn new(store: impl TokenStore) -> Self {
        let store: AnyShared = Arc::new(store);
        Self { writer: Writer::new(Arc::clone(&store)), store }
    }

    /// Returns the token for `key`, fresh or not, if it waits to be saved or the store has a valid entry.
    pub(crate) async fn load(&self, key: &KeyRef<'_>, payload: &Payload, seq: RequestSeq) -> Option<Entry> {
        let name = StoreKey::of(key);
        // The whole key is compared, because the name does not depend on the client's secret.
        if let Some(held) = self.writer.pending(&name).filter(|held| held.key.as_ref() == *key) {
            return Some(held);
        }
        if self.writer.refuses(&name, None) {
            return None;
        }
        let span = span::store("load");
        let entry = match call_store(async { self.store.load(&name).await }).instrument(span.clone()).await {
            Ok(entry) => {
                span.record("certbound.found", entry.is_some());
                entry?
            }
            Err(error) => {
                span::failed(&span, "store_failed");
                self.writer.failed(&error, "the client requests the token from the token service instead");
                return None;
            }
        };
        match entry::read(&entry, &name, (key, payload), seq) {
            Ok(held) => held.filter(|held| !self.writer.refuses(&name, Some(held))),
            Err(why) => {
                tracing::warn!(why, "an entry of the token store is ignored");
                self.writer.remove(name);
                None
            }
        }
    }

    /// Saves a token in the background.
    pub(crate) fn save(&self, held: &Entry) {
        self.writer.save(held);
    }

    /// Removes a token in the background. From now on `load` does not return it.
    pub(crate) fn forget(&self, key: &KeyRef<'_>, now: UnixTime) {
        self.writer.forget(StoreKey::of(key), now);
    }

    /// Waits until every job is done or was dropped, for at most five seconds.
    pub(crate) async fn flush(&self) {
        if tokio::time::timeout(FLUSH, self.writer.write_all(None)).await.is_err() {
            tracing::warn!("the token store did not finish its jobs within 5 s");
        }
    }

    /// Returns the number of failures of the store.
    pub(crate) fn failures(&self) -> u64 {
        self.writer.failures()
    }
}

impl Drop for StoreAdapter {
    fn drop(&mut self) {
        self.writer.is_abandoned.store(true, Ordering::Relaxed);
    }
}

/// Returns the result of a call to the store. A panic and an expired time limit become errors.
pub(super) async fn call_store<T>(
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(LIMIT, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(StoreError::new("the store panicked")),
        Err(_) => Err(StoreError::new(format!("the store did not answer within {} s", LIMIT.as_secs()))),
    }
}
