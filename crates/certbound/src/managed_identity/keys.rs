//! The key for which a machine's certificate is issued, and its provider.

mod software;

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use certbound_core::certificate::KeyAlgorithm;
use rustls::SignatureAlgorithm;
use rustls::sign::SigningKey;

use crate::certificate::{KeyPlace, SignatureScheme, Signer, SignerKey};
use crate::error::{KeyError, KeyStrength};
use crate::state::StateDirectory;

/// An RSA key of a machine: a signer with its public key. A clone is cheap.
#[derive(Clone)]
pub struct MachineKey(SignerKey);

/// The minimum size of an RSA key, in bits. Shorter keys are insecure.
const MIN_BITS: usize = 2048;

impl MachineKey {
    /// Joins a signer, in software or in hardware, with its public key: DER of a `SubjectPublicKeyInfo` with
    /// `rsaEncryption`. The platform verifies that the signer and the public key belong together.
    ///
    /// # Errors
    /// [`KeyError`], if the public key is not an RSA key of at least 2048 bits, or if the signer does not support
    /// [`SignatureScheme::RsaPssSha256`].
    pub fn new(public_key: &[u8], signer: impl Signer) -> Result<Self, KeyError> {
        match KeyAlgorithm::of_public_key(public_key) {
            Some(KeyAlgorithm::Rsa { bits }) if bits >= MIN_BITS => {}
            Some(KeyAlgorithm::Rsa { bits }) => {
                return Err(KeyError::new(format!(
                    "the key has {bits} bits, but at least {MIN_BITS} bits are needed"
                )));
            }
            _ => return Err(KeyError::new("the public key is not an RSA key")),
        }
        if !signer.schemes().contains(&SignatureScheme::RsaPssSha256) {
            return Err(KeyError::new("the signer does not support RSA-PSS with SHA-256"));
        }
        let (signer, algorithm) = (Arc::new(signer), SignatureAlgorithm::RSA);
        Ok(Self(SignerKey { signer, public: public_key.into(), algorithm }))
    }

    /// Returns the public key as DER of a `SubjectPublicKeyInfo`.
    pub fn public_key(&self) -> &[u8] {
        &self.0.public
    }

    /// Returns the signer of the provider, if its type is `S`. An attestation hook can get the provider's handle of the
    /// key from the signer.
    pub fn signer<S: Signer>(&self) -> Option<&S> {
        let signer: &dyn Any = &*self.0.signer;
        signer.downcast_ref()
    }

    /// Returns whether `other` is a clone of this key, so that both use one handle.
    pub(crate) fn is_same_handle(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.signer, &other.0.signer)
    }

    pub(crate) fn in_tls(&self) -> Arc<dyn SigningKey> {
        Arc::new(self.0.clone())
    }

    /// Returns the place of the private key.
    pub(crate) fn place(&self) -> KeyPlace {
        if software::is_in_memory(self) { KeyPlace::memory() } else { KeyPlace::Elsewhere }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.signer.sign(SignatureScheme::RsaPssSha256, message)
    }
}

impl fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineKey").finish_non_exhaustive()
    }
}

/// The source of a managed identity's key. Implement this trait for a key store in hardware.
///
/// The provider must return the same key each time, because certificates are renewed for the same key. The identity
/// awaits `key()` when it needs a certificate that is not in memory, and after a signature failed in a TLS handshake.
/// In the first case it requests the platform metadata at the same time. `key()` may take one minute at most. While a
/// handle of the key works, return clones of one [`MachineKey`]. If the handle does not work any more, return a new
/// [`MachineKey`] for the same key: the identity then uses its certificates with the new handle, on new connections. To
/// share a provider, pass it in an `Arc`.
pub trait KeyProvider: Send + Sync + 'static {
    /// Returns the strength of the provider's keys. The builder reads it once, when it builds an identity, so a later
    /// change has no effect on that identity.
    fn strength(&self) -> KeyStrength;

    /// Returns the key.
    fn key(&self) -> impl Future<Output = Result<MachineKey, KeyError>> + Send;

    /// Returns whether the key can be used after this process ends. By default, it returns true for keys in hardware
    /// only.
    fn is_persistent(&self) -> bool {
        self.strength() != KeyStrength::Software
    }
}

impl<K: KeyProvider> KeyProvider for Arc<K> {
    fn strength(&self) -> KeyStrength {
        KeyProvider::strength(&**self)
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        KeyProvider::key(&**self).await
    }

    fn is_persistent(&self) -> bool {
        KeyProvider::is_persistent(&**self)
    }
}

/// A key provider with one RSA-2048 key in memory. It generates the key at first use, on a thread for blocking work.
///
/// The key is dropped with the provider, unless it is [`kept_in`](SoftwareKeys::kept_in) a folder. A bound token that
/// is used after the end of its process needs this folder. Without the key the token is useless.
#[derive(Default)]
pub struct SoftwareKeys {
    /// Only threads for blocking work wait for this lock.
    key: Arc<Mutex<Option<MachineKey>>>,
    state: Option<StateDirectory>,
}

impl SoftwareKeys {
    /// Returns a provider that has no key yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a provider that stores its key in a folder for the next process. The private key is written without
    /// encryption (PKCS#8 DER, mode 0600). A program with access to the file can use every certificate that was issued
    /// for the key.
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
            // A panic under this lock cannot leave an incomplete key.
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(key) = &*kept {
                return Ok(key.clone());
            }
            let key = match state {
                None => software::generate()?.0,
                Some(state) => software::load_or_generate(&state)?,
            };
            Ok(kept.insert(key).clone())
        });
        made.await.unwrap_or_else(|_| Err(KeyError::new("the runtime is shutting down")))
    }

    fn is_persistent(&self) -> bool {
        self.state.is_some()
    }
}

impl fmt::Debug for SoftwareKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareKeys")
            .field("made", &self.key.try_lock().is_ok_and(|key| key.is_some()))
            .finish()
    }
}

/// The id of a key provider. Each provider that is passed to a builder has a new id. The provider of the process has a
/// fixed id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProviderId(u64);

impl ProviderId {
    /// The id of the provider of the process.
    pub(super) const PROCESS: Self = Self(0);

    pub(super) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(1 + LAST.fetch_add(1, Ordering::Relaxed))
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The object-safe form of [`KeyProvider`].
pub(crate) trait AnyKeys: Send + Sync {
    fn strength(&self) -> KeyStrength;
    fn key(&self) -> Boxed<'_, Result<MachineKey, KeyError>>;
    fn is_persistent(&self) -> bool;
}

impl<K: KeyProvider> AnyKeys for K {
    fn strength(&self) -> KeyStrength {
        KeyProvider::strength(self)
    }

    fn key(&self) -> Boxed<'_, Result<MachineKey, KeyError>> {
        Box::pin(KeyProvider::key(self))
    }

    fn is_persistent(&self) -> bool {
        KeyProvider::is_persistent(self)
    }
}
