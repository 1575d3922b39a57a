//! The network of a client, and the tokens that earlier commands stored.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use certbound::TokenCache;
use certbound::cache::SealedStore;
use certbound::retry::RetryPolicy;
use certbound::state::StateDirectory;

use super::Prover;
use crate::failure::Failure;
use crate::flags::{CacheFlags, CacheKeyFlag};
use crate::keychain;
use crate::observers::{AssertionWitness, WatchedLeg1, Witness, Witnessed};
use crate::output::tell;
use crate::usage::Usage;

/// A transport, and the store of tokens.
pub(crate) struct Reach<T> {
    transport: T,
    store: Option<SealedStore>,
    witness: Option<Arc<dyn Witness>>,
    assertions: Option<Arc<dyn AssertionWitness>>,
    /// The policy for retries.
    pub(super) retries: RetryPolicy,
    /// Whether certbound must see the binding in a bound token.
    pub(super) sees_bindings: bool,
    /// The caches with a store, which [`Reach::saved`] flushes.
    caches: Mutex<Vec<TokenCache>>,
}

impl<T> Reach<T> {
    /// Creates a value without tokens of earlier commands.
    pub(crate) fn fresh(transport: T) -> Self {
        Self {
            transport,
            store: None,
            witness: None,
            assertions: None,
            retries: RetryPolicy::default(),
            sees_bindings: false,
            caches: Mutex::default(),
        }
    }

    /// Sets the witness of requests to the machine's platform, which the library's observers do not see.
    #[must_use]
    pub(crate) fn told_to(mut self, witness: Option<Arc<dyn Witness>>) -> Self {
        self.witness = witness;
        self
    }

    /// Sets the witness of the assertions that Leg 1 returns.
    #[must_use]
    pub(crate) fn watching_assertions(mut self, witness: Arc<dyn AssertionWitness>) -> Self {
        self.assertions = Some(witness);
        self
    }

    /// Sends each request once.
    #[must_use]
    pub(crate) fn without_retries(mut self) -> Self {
        self.retries = RetryPolicy::none();
        self
    }

    /// If `wanted` is true, refuses bound tokens without a visible binding.
    #[must_use]
    pub(crate) fn seeing_bindings(mut self, wanted: bool) -> Self {
        self.sees_bindings = wanted;
        self
    }

    /// Returns a Leg 1 whose assertions the witness sees.
    pub(super) fn watched<L>(&self, leg1: L) -> WatchedLeg1<L> {
        WatchedLeg1::new(leg1, self.assertions.clone())
    }

    /// Returns the cache for tokens of `prover`. A cache with a store does not refresh ahead, because a short command
    /// would end before the refresh.
    pub(super) fn cache(&self, prover: &Prover) -> TokenCache {
        match (&self.store, prover.name()) {
            (Some(store), Some(name)) => {
                let store = store.clone().within(&surroundings(name));
                let cache = TokenCache::new().without_refresh_ahead().with_store(store);
                self.caches.lock().unwrap_or_else(PoisonError::into_inner).push(cache.clone());
                cache
            }
            _ => TokenCache::new(),
        }
    }

    /// Opens the store with the tokens of earlier commands, unless the flags forbid it. An unusable store is an error
    /// if the user named the folder or requested the keychain. Otherwise it is a warning, because the command works
    /// without a store.
    pub(crate) async fn kept(transport: T, flags: &CacheFlags) -> Result<Self, Failure> {
        if flags.no_cache {
            return Ok(Self::fresh(transport));
        }
        let store = match (&flags.cache_dir, usual_place()) {
            (Some(folder), _) => open(folder.clone(), flags.cache_key).await?,
            (None, Some(folder)) => match open(folder, flags.cache_key).await {
                Ok(store) => store,
                Err(failure) if flags.cache_key == CacheKeyFlag::Keychain => return Err(failure),
                Err(failure) => {
                    tell(&format!("warning: tokens are not stored for the next command: {}", failure.why));
                    tell(&format!("fix: {}", failure.fix));
                    return Ok(Self::fresh(transport));
                }
            },
            (None, None) => return Ok(Self::fresh(transport)),
        };
        Ok(Self { store: Some(store), ..Self::fresh(transport) })
    }
}

impl<T: Clone> Reach<T> {
    /// Returns the transport. The witness sees its requests to the machine's platform.
    pub(super) fn transport(&self) -> Witnessed<T> {
        Witnessed::new(self.transport.clone(), self.witness.clone())
    }

    /// Waits for the storage of new tokens, so that the next command finds them.
    pub(crate) async fn saved(&self) {
        let caches = std::mem::take(&mut *self.caches.lock().unwrap_or_else(PoisonError::into_inner));
        for cache in caches {
            cache.flush().await;
        }
    }
}

/// Opens the store in `folder`. The advice of each error ends with the flag that turns the store off.
async fn open(folder: PathBuf, key: CacheKeyFlag) -> Result<SealedStore, Failure> {
    if let Some(above) = folder.parent() {
        // If this fails, opening the folder reports the error.
        let _ = std::fs::create_dir_all(above);
    }
    let folder = StateDirectory::open(folder).map_err(|error| {
        let failure = Failure::from(error);
        Failure { fix: format!("{}; or use --no-cache", failure.fix), ..failure }
    })?;
    let store = keychain::store(&folder, key, &keychain::SystemKeychain).await;
    store.map_err(|error| Usage::CacheKey { reason: error.to_string() }.into())
}

/// Returns certbound's folder in the user's folder of caches.
fn usual_place() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home =
        || Some(set("HOME")?.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }));
    let caches = set("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(home)?;
    Some(caches.join("certbound"))
}

/// Variables that determine which servers certbound reaches and trusts.
const SURROUNDINGS: [&str; 14] = [
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "IDENTITY_ENDPOINT",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "AZUREPS_HOST_ENVIRONMENT",
];

/// Returns a namespace for stored tokens. Tokens of one trust store or proxy are not found with a different trust store
/// or proxy. So certbound never sends an emulator's token to the real service, or a real token to an emulator. Tokens
/// of different proofs are separate too.
fn surroundings(prover: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut add = |bytes: &[u8]| {
        text.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        text.extend_from_slice(bytes);
    };
    for name in SURROUNDINGS {
        let value: Option<OsString> = env::var_os(name);
        add(name.as_bytes());
        add(value.unwrap_or_default().as_encoded_bytes());
    }
    let roots = env::var_os("SSL_CERT_FILE").and_then(|path| std::fs::read(path).ok());
    add(&roots.unwrap_or_default());
    add(prover);
    text
}
