//! Tokens in one sealed file, for programs that run often and not for long.

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
/// Sealed by a key that is not beside it.
const FILE_BY_OTHER_KEY: &str = "tokens-by-other-key.sealed";
/// Those that end soonest go first, and so those that are over. Only then: a clock can be wrong for a while.
const TOKENS: usize = 128;
const BYTES: usize = 256 * 1024;
/// How long another process that writes is waited for, and how often it is looked after.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// A [`TokenStore`] of one file, sealed by AES-256-GCM, in a folder of one's own.
///
/// Processes may share it: the file is written whole or not at all, under a lock. A file that is damaged, sealed by another
/// key or of another version is ignored with a warning, and replaced. It keeps at most 128 tokens in 256 KiB. With its key
/// in a file beside it, the seal is access control and nothing more: who can read the folder can read the tokens.
///
/// ```no_run
/// use certbound::{SealedStore, StateDirectory, TokenCache};
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
    /// To change the file, in this process.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What the file holds, by the hexadecimal name.
#[derive(Default, Serialize, Deserialize)]
struct Tokens(BTreeMap<String, Kept>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    expires_at: u64,
    /// In base64.
    entry: Zeroizing<String>,
}

impl SealedStore {
    /// Sealed by the key in a file beside it (mode 0600), which is made if there is none. Reads the disk.
    ///
    /// # Errors
    /// [`StoreError`] when the key can neither be read nor written.
    pub fn with_key_file(folder: &StateDirectory) -> Result<Self, StoreError> {
        let key = SealingKey::beside(folder, lock)?;
        Ok(Self::new(folder, key, FILE))
    }

    /// Sealed by a key that is kept elsewhere, such as the system's keychain.
    pub fn with_key(folder: &StateDirectory, key: SealingKey) -> Self {
        Self::new(folder, key, FILE_BY_OTHER_KEY)
    }

    fn new(folder: &StateDirectory, key: SealingKey, file: &'static str) -> Self {
        let (state, turn) = (folder.clone(), Arc::default());
        Self { inner: Arc::new(Inner { state, key, file, namespace: Vec::new(), turn }) }
    }

    /// The same file for a part of the world that must not see another's tokens.
    #[must_use]
    pub fn within(self, namespace: &[u8]) -> Self {
        let Inner { state, key, file, turn, .. } = &*self.inner;
        let (state, key, turn) = (state.clone(), key.clone(), Arc::clone(turn));
        Self { inner: Arc::new(Inner { state, key, file, namespace: namespace.to_vec(), turn }) }
    }

    /// Files are not for the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        let stopped = |_| StoreError::new("the runtime is shutting down");
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(stopped)?
    }

    /// As [`SealedStore::blocking`], one after another: what began goes on when nobody waits for it any more, and must not
    /// come after what was decided later.
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
            let Some(kept) = tokens.0.remove(&name) else { return Ok(None) };
            let Ok(bytes) = STANDARD.decode(&*kept.entry) else { return Ok(None) };
            Ok(Some(StoreEntry::new(bytes, UnixTime::from_secs(kept.expires_at))))
        })
        .await
    }

    async fn save(&self, key: &StoreKey, entry: StoreEntry) -> Result<(), StoreError> {
        let name = key.within(&self.inner.namespace).to_string();
        self.changing(move |tokens| {
            let kept = Kept {
                expires_at: entry.expires_at().as_secs(),
                entry: Zeroizing::new(STANDARD.encode(entry.expose())),
            };
            tokens.0.insert(name, kept);
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
    /// What the file holds; nothing, if it is not what we wrote.
    fn read(&self) -> Tokens {
        let Some(mut content) = self.state.read(self.file) else { return Tokens::default() };
        let tokens = self.key.open(&mut content).and_then(|text| serde_json::from_slice(text).ok());
        tokens.unwrap_or_else(|| {
            self.state.ignored(self.file, &"it is damaged, sealed by another key, or of another version");
            Tokens::default()
        })
    }

    /// Writes the file anew with what `change` makes of it, if that says that it is another.
    fn change(&self, change: impl FnOnce(&mut Tokens) -> bool) -> Result<(), StoreError> {
        self.state.check().map_err(|error| StoreError::new(error.to_string()))?;
        let lock = lock(&self.state, self.file)?;
        let mut tokens = self.read();
        if !change(&mut tokens) {
            return Ok(());
        }
        tokens.make_room();
        // Room for all of it from the start: a growing buffer would leave unwiped copies behind.
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
            let soonest = self.0.iter().min_by_key(|(_, kept)| kept.expires_at).map(|(name, _)| name.clone());
            let Some(name) = soonest else { break };
            self.0.remove(&name);
        }
    }

    /// As JSON, about.
    fn bytes(&self) -> usize {
        self.0.iter().map(|(name, kept)| name.len() + kept.entry.len() + 64).sum()
    }
}

/// The right to write a file. Whoever has it is done in a moment, or was stopped while he had it.
fn lock(state: &StateDirectory, file: &str) -> Result<Lock, StoreError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a thread waits for a file is nobody's time but its own"
    )]
    let now = Instant::now;
    let until = now() + PATIENCE;
    loop {
        match state.try_lock(file).map_err(|error| StoreError::new(error.to_string()))? {
            Some(lock) => return Ok(lock),
            None if now() >= until => return Err(StoreError::new("another process holds its lock")),
            None => std::thread::sleep(LOOK),
        }
    }
}

impl fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealedStore").field(&self.inner.state.path().join(self.inner.file)).finish()
    }
}
