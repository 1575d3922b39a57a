//! The key that a machine's certificate is issued for, and who keeps it.

mod signer;
mod software;

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use certbound_core::certificate::KeyAlgorithm;
use rustls::sign::SigningKey;

use self::signer::InTls;
pub use self::signer::MachineSigner;
use crate::error::{KeyError, KeyStrength};
use crate::state::StateDirectory;

/// An RSA key of a machine: it signs, and tells its public half. Cheap to clone.
#[derive(Clone)]
pub struct MachineKey {
    signer: Arc<dyn MachineSigner>,
    public: Arc<[u8]>,
    tls: Arc<dyn SigningKey>,
}

/// A shorter modulus proves nothing any more.
const MIN_BITS: usize = 2048;

impl MachineKey {
    /// Takes a key, wherever it is kept.
    ///
    /// # Errors
    /// [`KeyError`] when its public half is not that of an RSA key of 2048 bits or more.
    pub fn new(signer: impl MachineSigner) -> Result<Self, KeyError> {
        let public: Arc<[u8]> = signer.public_key().into();
        match KeyAlgorithm::of_public_key(&public) {
            Some(KeyAlgorithm::Rsa { bits }) if bits >= MIN_BITS => {}
            Some(KeyAlgorithm::Rsa { bits }) => {
                return Err(KeyError::new(format!("the key has {bits} bits, and {MIN_BITS} are wanted")));
            }
            _ => return Err(KeyError::new("the key does not tell the public half of an RSA key")),
        }
        let signer: Arc<dyn MachineSigner> = Arc::new(signer);
        let tls = Arc::new(InTls { signer: Arc::clone(&signer), public: Arc::clone(&public) });
        Ok(Self { signer, public, tls })
    }

    /// The public half, DER of a `SubjectPublicKeyInfo`.
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// The private half as its provider has it, if it is an `S`: for an attestation hook that needs the handle of the key.
    pub fn signer<S: MachineSigner>(&self) -> Option<&S> {
        let signer: &dyn Any = &*self.signer;
        signer.downcast_ref()
    }

    pub(crate) fn in_tls(&self) -> &Arc<dyn SigningKey> {
        &self.tls
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.signer.sign_pss_sha256(message)
    }
}

impl fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineKey").finish_non_exhaustive()
    }
}

/// Who keeps the machine's key. Implement it for a key store in hardware.
///
/// The same key is to be given each time: certificates are renewed for it. `key()` is awaited only when a certificate may have
/// to be issued, while the platform is asked who the identity is; a minute is all it has. To share a provider, put it into
/// an `Arc`.
pub trait KeyProvider: Send + Sync + 'static {
    /// How well keys are kept. Asked once, when an identity is built.
    fn strength(&self) -> KeyStrength;

    /// The key.
    fn key(&self) -> impl Future<Output = Result<MachineKey, KeyError>> + Send;
}

impl<K: KeyProvider> KeyProvider for Arc<K> {
    fn strength(&self) -> KeyStrength {
        KeyProvider::strength(&**self)
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        KeyProvider::key(&**self).await
    }
}

/// RSA-2048 in memory: one key for as long as the provider lives, made off the async threads when it is first needed.
///
/// Nothing is written, unless it is [`kept_in`](SoftwareKeys::kept_in) a folder.
#[derive(Default)]
pub struct SoftwareKeys {
    /// Made and waited for on blocking threads, which go on where a runtime does not.
    key: Arc<Mutex<Option<MachineKey>>>,
    state: Option<StateDirectory>,
}

impl SoftwareKeys {
    /// A provider without a key yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A provider whose key the next process finds in a folder: the private key is written there, not encrypted (PKCS#8
    /// DER, mode 0600). Whoever reads the file can use every certificate issued for it.
    pub fn kept_in(state: &StateDirectory) -> Self {
        Self { state: Some(state.clone()), ..Self::default() }
    }
}

impl KeyProvider for SoftwareKeys {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        let made = self.key.try_lock().ok().and_then(|key| key.clone());
        if let Some(key) = made {
            return Ok(key);
        }
        let (kept, state) = (Arc::clone(&self.key), self.state.clone());
        let made = tokio::task::spawn_blocking(move || {
            // A panic leaves none.
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(key) = &*kept {
                return Ok(key.clone());
            }
            let key = match state {
                None => software::generate()?.0,
                Some(state) => software::kept(&state)?,
            };
            Ok(kept.insert(key).clone())
        });
        made.await.unwrap_or_else(|_| Err(KeyError::new("the runtime is shutting down")))
    }
}

impl fmt::Debug for SoftwareKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareKeys")
            .field("made", &self.key.try_lock().is_ok_and(|key| key.is_some()))
            .finish()
    }
}

/// Which provider: each that an identity is built with is another one, but for the process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProviderId(u64);

impl ProviderId {
    /// The process's key.
    pub(super) const PROCESS: Self = Self(0);

    pub(super) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(1 + LAST.fetch_add(1, Ordering::Relaxed))
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The object-safe twin of [`KeyProvider`].
pub(crate) trait AnyKeys: Send + Sync {
    fn strength(&self) -> KeyStrength;
    fn key(&self) -> Boxed<'_, Result<MachineKey, KeyError>>;
}

impl<K: KeyProvider> AnyKeys for K {
    fn strength(&self) -> KeyStrength {
        KeyProvider::strength(self)
    }

    fn key(&self) -> Boxed<'_, Result<MachineKey, KeyError>> {
        Box::pin(KeyProvider::key(self))
    }
}
