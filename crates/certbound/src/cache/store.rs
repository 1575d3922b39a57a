//! The interface of stores. A store keeps tokens after the end of the process, or shares them with other processes.

mod adapter;
mod entry;
mod key;
#[cfg(feature = "sealed-store")]
mod sealed;
#[cfg(feature = "sealed-store")]
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
#[cfg(feature = "sealed-store")]
pub use self::sealed::SealedStore;
#[cfg(feature = "sealed-store")]
pub use self::sealing_key::SealingKey;

/// A store of tokens outside of the process, for example a file or a shared cache.
///
/// On a miss the cache reads the store once for all waiting callers, before it sends a request to the token service. It
/// saves new tokens in the background, one after another. Callers do not wait for this.
/// [`TokenCache::flush`](crate::TokenCache::flush) waits until all tokens are saved. A store need not check entries.
/// The cache checks that an entry is for this request, has not expired and is bound to the certificate. It ignores an
/// entry that fails a check. It also ignores a store that fails, panics or takes longer than two seconds, and logs a
/// warning. An entry contains a secret. Every reader of a Bearer token's entry can use the token. Encrypt the entries
/// if other users can read them.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use certbound::TokenCache;
/// use certbound::cache::{StoreEntry, StoreError, StoreKey, TokenStore};
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
    /// Returns the entry for `key`, or `None` if the store does not contain the key.
    ///
    /// # Errors
    /// [`StoreError`], if the store cannot be read. The cache then sends a request to the token service.
    fn load(&self, key: &StoreKey) -> impl Future<Output = Result<Option<StoreEntry>, StoreError>> + Send;

    /// Stores `entry` and replaces an older entry for `key`. The store may drop the entry at any time. After
    /// [`StoreEntry::expires_at`] the entry is useless.
    ///
    /// # Errors
    /// [`StoreError`], if the entry is not stored. Callers get the token nevertheless.
    fn save(&self, key: &StoreKey, entry: StoreEntry) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes the entry for `key`, if the store has an entry. The entry must not be used any more.
    ///
    /// # Errors
    /// [`StoreError`], if the store may still contain the entry.
    fn remove(&self, key: &StoreKey) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A token in the form for a store: bytes that only the cache reads. The bytes are wiped when the entry is dropped, and
/// `Debug` does not show them.
#[derive(Clone)]
pub struct StoreEntry {
    bytes: Zeroizing<Vec<u8>>,
    expires_at: UnixTime,
}

impl StoreEntry {
    /// Creates an entry from the bytes and the expiry in a store.
    pub fn new(bytes: Vec<u8>, expires_at: UnixTime) -> Self {
        Self { bytes: Zeroizing::new(bytes), expires_at }
    }

    /// Returns the bytes to store. The bytes contain the token.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the time at which the token expires.
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

/// The reason why a store could not save, load or remove a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token store failed: {0}")]
pub struct StoreError(String);

impl StoreError {
    /// Creates an error with a reason for the log. The reason must contain no secret.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The object-safe form of [`TokenStore`].
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
