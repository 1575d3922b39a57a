//! A store as the cache uses it: limited in time, believed in nothing, and never in the way.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry;
use super::{Answer, AnyStore, StoreError, StoreKey, TokenStore};
use crate::cache::key::KeyRef;
use crate::cache::{Begun, Wanted};
use crate::token::Held;

/// How long a store may take. Asking the token service anew costs less than waiting for ever.
const LIMIT: Duration = Duration::from_secs(2);

pub(crate) struct Shelf {
    store: Arc<dyn AnyStore>,
    /// Tokens that a caller wants to be forgotten and that are in the store still, perhaps.
    forgotten: Mutex<HashSet<StoreKey>>,
}

impl Shelf {
    pub(crate) fn new(store: impl TokenStore) -> Self {
        Self { store: Arc::new(store), forgotten: Mutex::default() }
    }

    /// The token that is wanted, alive or not, if the store has one that is what it should be.
    pub(crate) async fn load(&self, wanted: Wanted<'_>, begun: Begun) -> Result<Option<Held>, StoreError> {
        let name = StoreKey::of(&wanted.key);
        if self.forgotten().contains(&name) {
            limited(self.store.remove(&name)).await?;
            self.forgotten().remove(&name);
            return Ok(None);
        }
        let Some(entry) = limited(self.store.load(&name)).await? else { return Ok(None) };
        let key = wanted.key.to_key_of(wanted.certificate);
        match entry::read(&entry, &name, key, wanted.bond(), wanted.origins, begun) {
            Ok(held) => Ok(Some(held)),
            Err(why) => {
                tracing::warn!(why, "an entry of the token store is not used");
                limited(self.store.remove(&name)).await?;
                Ok(None)
            }
        }
    }

    pub(crate) async fn save(&self, held: &Held) -> Result<(), StoreError> {
        let name = StoreKey::of(&held.key().as_ref());
        let entry = entry::write(held, &name).ok_or_else(|| StoreError::new("it cannot be written down"))?;
        limited(self.store.save(&name, entry)).await?;
        self.forgotten().remove(&name);
        Ok(())
    }

    /// The next who asks drops it. Nothing is known of whether it is there.
    pub(crate) fn forget(&self, key: &KeyRef<'_>) {
        self.forgotten().insert(StoreKey::of(key));
    }

    fn forgotten(&self) -> MutexGuard<'_, HashSet<StoreKey>> {
        // Nothing can panic while it is held.
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn limited<T>(answer: Answer<'_, T>) -> Result<T, StoreError> {
    match tokio::time::timeout(LIMIT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::new(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}
