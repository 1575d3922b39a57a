//! The key that seals tokens on a disk.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::StoreError;
use crate::state::{Lock, StateDirectory};

const FILE: &str = "tokens.key";
/// What a sealed file begins with: its form, told before and authenticated with its content.
const FORM: &[u8] = b"certbound tokens 1\n";

/// A key of AES-256-GCM. Wiped when it is dropped, and never shown.
#[derive(Clone)]
pub struct SealingKey(Arc<Zeroizing<[u8; 32]>>);

impl SealingKey {
    pub(super) const OVERHEAD: usize = 64;

    /// The key that these bytes are.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(Arc::new(bytes))
    }

    /// A fresh one.
    ///
    /// # Errors
    /// [`StoreError`] when the system has no random bytes.
    pub fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| StoreError::new("no random bytes"))?;
        Ok(Self::from_bytes(bytes))
    }

    /// The key itself, to be kept elsewhere.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key in a file of the folder. It is made if there is none, by one of the processes that want it.
    pub(super) fn beside(
        folder: &StateDirectory,
        lock: impl FnOnce(&StateDirectory, &str) -> Result<Lock, StoreError>,
    ) -> Result<Self, StoreError> {
        let read = || -> Option<Self> {
            let content = folder.read(FILE)?;
            let bytes: Option<[u8; 32]> = content.as_slice().try_into().ok();
            if bytes.is_none() {
                folder.ignored(FILE, &"it is no key");
            }
            bytes.map(|bytes| Self::from_bytes(Zeroizing::new(bytes)))
        };
        if let Some(key) = read() {
            return Ok(key);
        }
        let lock = lock(folder, FILE)?;
        if let Some(key) = read() {
            return Ok(key);
        }
        let key = Self::random()?;
        folder.write(FILE, key.expose(), &lock);
        read().ok_or_else(|| StoreError::new("its key could not be written"))
    }

    /// Form, nonce and what is sealed.
    pub(super) fn seal(&self, mut content: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, StoreError> {
        let failed = |_| StoreError::new("sealing failed");
        let nonce = self.cipher().map_err(failed)?.seal_in_place_append_tag(Aad::from(FORM), &mut *content);
        let nonce = nonce.map_err(failed)?;
        Ok([FORM, nonce.as_ref(), &content].concat())
    }

    /// What was sealed by this key, in the place of `sealed`.
    pub(super) fn open<'a>(&self, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let (form, rest) = sealed.split_at_mut_checked(FORM.len())?;
        let (nonce, content) = rest.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let cipher = self.cipher().ok().filter(|_| form == FORM)?;
        let content = cipher.open_in_place(nonce, Aad::from(FORM), content).ok()?;
        Some(content)
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, aws_lc_rs::error::Unspecified> {
        RandomizedNonceKey::new(&AES_256_GCM, self.expose())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(<redacted>)")
    }
}
