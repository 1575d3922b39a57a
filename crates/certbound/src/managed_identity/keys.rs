//! The key that a machine's certificate is issued for, and who keeps it.

mod software;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use tokio::sync::OnceCell;

use crate::state::StateDirectory;

/// How well a key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyStrength {
    /// In this process's memory.
    Software,
    /// In hardware, from which it cannot be taken.
    Hardware,
    /// In hardware that vouches for it.
    Attested,
}

impl fmt::Display for KeyStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Software => "software",
            Self::Hardware => "hardware",
            Self::Attested => "attested",
        })
    }
}

/// An RSA key of a machine: it signs, and tells its public half.
#[derive(Clone)]
pub struct MachineKey {
    key: Arc<dyn SigningKey>,
    public: Arc<[u8]>,
}

impl MachineKey {
    /// Takes a key that signs by RSA-PSS with SHA-256, wherever it is kept.
    ///
    /// # Errors
    /// [`KeyError`] when it does not, or cannot tell its public half.
    pub fn new(key: Arc<dyn SigningKey>) -> Result<Self, KeyError> {
        let public = key.public_key().map(|public| public.as_ref().into());
        let public = public.ok_or_else(|| KeyError::new("the key does not tell its public half"))?;
        if key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).is_none() {
            return Err(KeyError::new("the key does not sign by RSA-PSS with SHA-256"));
        }
        Ok(Self { key, public })
    }

    /// The public half, DER of a `SubjectPublicKeyInfo`.
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    pub(crate) fn signing_key(&self) -> &Arc<dyn SigningKey> {
        &self.key
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signer = self.key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]);
        let signature = signer.and_then(|signer| signer.sign(message).ok());
        signature.ok_or_else(|| KeyError::new("the key did not sign"))
    }
}

impl fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineKey").finish_non_exhaustive()
    }
}

/// Who keeps the machine's key. Implement it for a key store in hardware.
///
/// The same key is to be given each time: certificates are renewed for it. `key()` is awaited only when a certificate is
/// issued.
pub trait KeyProvider: Send + Sync + 'static {
    /// How well keys are kept.
    fn strength(&self) -> KeyStrength;

    /// The key.
    fn key(&self) -> impl Future<Output = Result<MachineKey, KeyError>> + Send;
}

/// A key that cannot be had or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct KeyError {
    reason: String,
}

impl KeyError {
    /// With its reason, which must hold nothing of the key.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// RSA-2048 in memory: one key for as long as the provider lives, made off the async threads when it is first needed.
///
/// Nothing is written, unless it is [`kept_in`](SoftwareKeys::kept_in) a folder.
#[derive(Default)]
pub struct SoftwareKeys {
    key: OnceCell<MachineKey>,
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
        let make = || async {
            let state = self.state.clone();
            let made = tokio::task::spawn_blocking(move || match state {
                None => software::generate().map(|(key, _)| key),
                Some(state) => software::kept(&state),
            });
            let made = made.await;
            made.unwrap_or_else(|_| Err(KeyError::new("the runtime is shutting down")))
        };
        self.key.get_or_try_init(make).await.cloned()
    }
}

impl fmt::Debug for SoftwareKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareKeys").field("made", &self.key.initialized()).finish()
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
