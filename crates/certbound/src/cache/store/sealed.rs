//! A store in one encrypted file, for programs that run often and end soon.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::time::UnixTime;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::sealing_key::SealingKey;
use super::{StoreEntry, StoreError, StoreKey, TokenStore};
use crate::state::{Lock, StateDirectory};

const FILE: &str = "tokens.sealed";
/// The name of the file if its key is not stored in the same folder.
const FILE_BY_OTHER_KEY: &str = "tokens-by-other-key.sealed";
/// The limits of the file. If the file is full, the store removes the tokens with the earliest expiry. Expired tokens
/// are not removed earlier, because a clock can be wrong for a while.
const TOKENS: usize = 128;
const BYTES: usize = 256 * 1024;
/// The time for which a write waits for the lock of another process, and the time between two attempts.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// A [`TokenStore`] in one file of a private folder, encrypted with AES-256-GCM.
///
/// Several processes may share the file. Each process replaces the file as a whole, under a lock. A file is ignored
/// with a warning, and later replaced, if it is damaged, encrypted with a different key or of a different version. The
/// file contains at most 128 tokens in 256 KiB. If the key is in a file of the same folder, the encryption adds no
/// protection: every reader of the folder can read the tokens.
///
/// ```no_run
/// use certbound::TokenCache;
/// use certbound::cache::SealedStore;
/// use certbound::state::StateDirectory;
///
/// let folder = StateDirectory::open("/home/me/.cache/certbound")?;
/// let cache = TokenCache::new().with_store(SealedStore::with_key_file(&folder)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SealedStore {
    inner: Arc<Inner>,
}

struct Inner {
    state: StateDirectory,
    key: SealingKey,
    file: &'static str,
    namespace: Vec<u8>,
    /// Orders the changes that this store and its clones make to the file.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The entries in the file, by their names in hexadecimal.
#[derive(Default, Serialize, Deserialize)]
struct Tokens(BTreeMap<String, SealedEntry>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedEntry {
    expires_at: u64,
    /// The entry in base64.
    entry: Zeroizing<String>,
}

impl SealedStore {
    /// Opens a store whose key is in a file in the same folder (mode 0600). If the folder has no key, the function
    /// creates a key. The function blocks while it reads the disk.
    ///
    /// # Errors
    /// [`StoreError`], if the key can neither be read nor written.
    pub fn with_key_file(folder: &StateDirectory) -> Result<Self, StoreError> {
        let key = SealingKey::beside(folder, lock)?;
        Ok(Self::new(folder, key, FILE))
    }

    /// Opens a store whose key is stored elsewhere, for example in the system's keychain.
    pub fn with_key(folder: &StateDirectory, key: SealingKey) -> Self {
        Self::new(folder, key, FILE_BY_OTHER_KEY)
    }

    fn new(folder: &StateDirectory, key: SealingKey, file: &'static str) -> Self {
        let (state, turn) = (folder.clone(), Arc::default());
        Self { inner: Arc::new(Inner { state, key, file, namespace: Vec::new(), turn }) }
    }

    /// Returns a store in the same file that sees only the tokens of this namespace.
    #[must_use]
    pub fn within(self, namespace: &[u8]) -> Self {
        let Inner { state, key, file, turn, .. } = &*self.inner;
        let (state, key, turn) = (state.clone(), key.clone(), Arc::clone(turn));
        Self { inner: Arc::new(Inner { state, key, file, namespace: namespace.to_vec(), turn }) }
    }

    /// Runs `work` on a thread for blocking work, because it reads and writes files.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        let stopped = |_| StoreError::new("the runtime is shutting down");
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(stopped)?
    }

    /// Changes the file, one change at a time. A change continues if its caller is dropped, but it must not be applied
    /// after a later change.
    async fn changing(
        &self,
        change: impl FnOnce(&mut Tokens) -> bool + Send + 'static,
    ) -> Result<(), StoreError> {
        let turn = Arc::clone(&self.inner.turn).lock_owned().await;
        self.blocking(move |inner| {
            let _turn = turn;
            inner.change(change)
        })
        .await
    }
}

impl TokenStore for SealedStore {
    async fn load(&self, key: &StoreKey) -> Result<Option<StoreEntry>, StoreError> {
        let name = key.within(&self.inner.namespace).to_string();
        self.blocking(move |inner| {
            let mut tokens = inner.read();
            let Some(stored) = tokens.0.remove(&name) else { return Ok(None) };
            let Ok(bytes) = STANDARD.decode(&*stored.entry) else { return Ok(None) };
            Ok(Some(StoreEntry::new(bytes, UnixTime::from_secs(stored.expires_at))))
        })
        .await
    }

    async fn save(&self, key: &StoreKey, entry: StoreEntry) -> Result<(), StoreError> {
        let name = key.within(&self.inner.namespace).to_string();
        self.changing(move |tokens| {
            let stored = SealedEntry {
                expires_at: entry.expires_at().as_secs(),
                entry: Zeroizing::new(STANDARD.encode(entry.expose())),
            };
            tokens.0.insert(name, stored);
            true
        })
        .await
    }

    async fn remove(&self, key: &StoreKey) -> Result<(), StoreError> {
        let name = key.within(&self.inner.namespace).to_string();
        self.changing(move |tokens| tokens.0.remove(&name).is_some()).await
    }
}

impl Inner {
    /// Returns the content of the file. The result is empty if the file does not exist, cannot be decrypted with this
    /// key, or has a different version.
    fn read(&self) -> Tokens {
        let Some(mut content) = self.state.read(self.file) else { return Tokens::default() };
        let tokens = self.key.open(&mut content).and_then(|text| serde_json::from_slice(text).ok());
        tokens.unwrap_or_else(|| {
            self.state.ignored(
                self.file,
                &"it is damaged, is sealed by a different key, or has a different version",
            );
            Tokens::default()
        })
    }

    /// Applies `change` to the content and writes the file if `change` returns true.
    fn change(&self, change: impl FnOnce(&mut Tokens) -> bool) -> Result<(), StoreError> {
        self.state.check().map_err(|error| StoreError::new(error.to_string()))?;
        let lock = lock(&self.state, self.file)?;
        let mut tokens = self.read();
        if !change(&mut tokens) {
            return Ok(());
        }
        tokens.make_room();
        // The buffer has its full size from the start. A growing buffer would leave copies of the secrets in memory
        // that are not wiped.
        let mut text = Zeroizing::new(Vec::with_capacity(tokens.bytes() + SealingKey::OVERHEAD));
        serde_json::to_writer(&mut *text, &tokens).map_err(|error| StoreError::new(error.to_string()))?;
        let sealed = self.key.seal(text)?;
        let not_written = |error| StoreError::new(format!("{} was not written: {error}", self.file));
        self.state.try_write(self.file, &sealed, &lock).map_err(not_written)
    }
}

impl Tokens {
    fn make_room(&mut self) {
        while self.0.len() > TOKENS || self.bytes() > BYTES {
            let soonest =
                self.0.iter().min_by_key(|(_, stored)| stored.expires_at).map(|(name, _)| name.clone());
            let Some(name) = soonest else { break };
            self.0.remove(&name);
        }
    }

    /// Returns the approximate size as JSON, in bytes.
    fn bytes(&self) -> usize {
        self.0.iter().map(|(name, stored)| name.len() + stored.entry.len() + 64).sum()
    }
}

/// Takes the lock for writing a file. Other processes hold it only for a short time, so this function waits for at most
/// one second.
fn lock(state: &StateDirectory, file: &str) -> Result<Lock, StoreError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a blocking wait for a file lock does not use the injected clock"
    )]
    let now = Instant::now;
    let until = now() + LOCK_TIMEOUT;
    loop {
        match state.try_lock(file).map_err(|error| StoreError::new(error.to_string()))? {
            Some(lock) => return Ok(lock),
            None if now() >= until => {
                return Err(StoreError::new("another process holds the lock of the file"));
            }
            None => std::thread::sleep(LOCK_POLL),
        }
    }
}

impl fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealedStore").field(&self.inner.state.path().join(self.inner.file)).finish()
    }
}
