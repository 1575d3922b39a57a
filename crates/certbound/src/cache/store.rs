//! The seam behind the cache: where tokens outlive the process, or are shared with others.

mod adapter;
mod entry;
mod key;
mod sealed;
mod sealing_key;
mod writer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use certbound_core::time::UnixTime;
use zeroize::Zeroizing;

pub(crate) use self::adapter::StoreAdapter;
pub use self::key::StoreKey;
pub use self::sealed::SealedStore;
pub use self::sealing_key::SealingKey;

/// Keeps tokens outside of the process: a file, a shared cache.
///
/// It is asked on a miss, before the token service is, by one of those who wait for a token. It is told each new token
/// when those who waited have it, one after the other; [`TokenCache::flush`](crate::TokenCache::flush) waits for that. It
/// does not judge: what it gives back is checked like an answer of the service (for this very request, not over, bound to
/// the certificate) and is not used when it fails. A store that fails, panics, or takes longer than two seconds, is passed by
/// with a warning. Entries are secrets that work for whoever holds them, unless bound; seal them where others can read.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use certbound::{StoreEntry, StoreError, StoreKey, TokenCache, TokenStore};
///
/// #[derive(Default)]
/// struct InAMap(Mutex<HashMap<StoreKey, StoreEntry>>);
///
/// impl TokenStore for InAMap {
///     async fn load(&self, key: &StoreKey) -> Result<Option<StoreEntry>, StoreError> {
///         Ok(self.0.lock().map_err(|_| StoreError::new("poisoned"))?.get(key).cloned())
///     }
///     async fn save(&self, key: &StoreKey, entry: StoreEntry) -> Result<(), StoreError> {
///         self.0.lock().map_err(|_| StoreError::new("poisoned"))?.insert(*key, entry);
///         Ok(())
///     }
///     async fn remove(&self, key: &StoreKey) -> Result<(), StoreError> {
///         self.0.lock().map_err(|_| StoreError::new("poisoned"))?.remove(key);
///         Ok(())
///     }
/// }
///
/// let cache = TokenCache::new().with_store(InAMap::default());
/// ```
pub trait TokenStore: Send + Sync + 'static {
    /// The entry for `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be told; the token service is asked instead.
    fn load(&self, key: &StoreKey) -> impl Future<Output = Result<Option<StoreEntry>, StoreError>> + Send;

    /// Keeps `entry` in the place of an earlier one. It may be dropped at any time; after
    /// [`StoreEntry::expires_at`] it is of no use.
    ///
    /// # Errors
    /// [`StoreError`] when it is not kept; the token is served all the same.
    fn save(&self, key: &StoreKey, entry: StoreEntry) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Drops the entry for `key`, if there is one: it cannot be used.
    ///
    /// # Errors
    /// [`StoreError`] when it may be there still.
    fn remove(&self, key: &StoreKey) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A token as a store keeps it: bytes that only the cache reads. Wiped when it is dropped, and never shown.
#[derive(Clone)]
pub struct StoreEntry {
    bytes: Zeroizing<Vec<u8>>,
    expires_at: UnixTime,
}

impl StoreEntry {
    /// What a store has kept.
    pub fn new(bytes: Vec<u8>, expires_at: UnixTime) -> Self {
        Self { bytes: Zeroizing::new(bytes), expires_at }
    }

    /// What a store is to keep. They hold the token.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// When its token is over.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

impl fmt::Debug for StoreEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreEntry")
            .field("bytes", &format_args!("<redacted, {} bytes>", self.bytes.len()))
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// Why a store could not keep a token, or give it back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token store failed: {0}")]
pub struct StoreError(String);

impl StoreError {
    /// With a reason for the log; nothing secret.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The object-safe twin of [`TokenStore`].
pub(crate) trait AnyStore: Send + Sync {
    fn load<'a>(&'a self, key: &'a StoreKey) -> Answer<'a, Option<StoreEntry>>;
    fn save<'a>(&'a self, key: &'a StoreKey, entry: StoreEntry) -> Answer<'a, ()>;
    fn remove<'a>(&'a self, key: &'a StoreKey) -> Answer<'a, ()>;
}

pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

impl<S: TokenStore> AnyStore for S {
    fn load<'a>(&'a self, key: &'a StoreKey) -> Answer<'a, Option<StoreEntry>> {
        Box::pin(TokenStore::load(self, key))
    }

    fn save<'a>(&'a self, key: &'a StoreKey, entry: StoreEntry) -> Answer<'a, ()> {
        Box::pin(TokenStore::save(self, key, entry))
    }

    fn remove<'a>(&'a self, key: &'a StoreKey) -> Answer<'a, ()> {
        Box::pin(TokenStore::remove(self, key))
    }
}

impl<S: TokenStore> TokenStore for Arc<S> {
    async fn load(&self, key: &StoreKey) -> Result<Option<StoreEntry>, StoreError> {
        TokenStore::load(&**self, key).await
    }

    async fn save(&self, key: &StoreKey, entry: StoreEntry) -> Result<(), StoreError> {
        TokenStore::save(&**self, key, entry).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<(), StoreError> {
        TokenStore::remove(&**self, key).await
    }
}
