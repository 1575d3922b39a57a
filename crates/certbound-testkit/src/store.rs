//! A store without entries.

use certbound::cache::{StoreEntry, StoreError, StoreKey, TokenStore};

/// A store that loads nothing and ignores each saved entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyStore;

impl TokenStore for EmptyStore {
    async fn load(&self, _: &StoreKey) -> Result<Option<StoreEntry>, StoreError> {
        Ok(None)
    }

    async fn save(&self, _: &StoreKey, _: StoreEntry) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove(&self, _: &StoreKey) -> Result<(), StoreError> {
        Ok(())
    }
}
