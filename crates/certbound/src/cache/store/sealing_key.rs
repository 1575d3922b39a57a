//! The key that encrypts tokens on a disk.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::StoreError;
use crate::state::{Lock, StateDirectory};

const FILE: &str = "tokens.key";
/// The first bytes of an encrypted file, which name its form. AES-256-GCM authenticates these bytes together with the
/// content.
const FORM: &[u8] = b"certbound tokens 1\n";

/// A key for AES-256-GCM. It is wiped when its last clone is dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct SealingKey(Arc<Zeroizing<[u8; 32]>>);

impl SealingKey {
    pub(super) const OVERHEAD: usize = 64;

    /// Creates the key from its 32 bytes.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(Arc::new(bytes))
    }

    /// Creates a random key.
    ///
    /// # Errors
    /// [`StoreError`], if the system cannot provide random bytes.
    pub fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *bytes)
            .map_err(|_| StoreError::new("the system returned no random bytes"))?;
        Ok(Self::from_bytes(bytes))
    }

    /// Returns the bytes of the key, so that they can be stored elsewhere.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the key in a file of the folder. If the folder has no usable key, the function creates a key under a
    /// lock. Therefore all processes get the same key.
    pub(super) fn beside(
        folder: &StateDirectory,
        lock: impl FnOnce(&StateDirectory, &str) -> Result<Lock, StoreError>,
    ) -> Result<Self, StoreError> {
        let read = || -> Option<Self> {
            let content = folder.read(FILE)?;
            let bytes: Option<[u8; 32]> = content.as_slice().try_into().ok();
            if bytes.is_none() {
                folder.ignored(FILE, &"it does not contain a key");
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
        read().ok_or_else(|| StoreError::new("the key of the store could not be written"))
    }

    /// Encrypts the content. The result is the form, the nonce, and the encrypted content with its tag.
    pub(super) fn seal(&self, mut content: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, StoreError> {
        let failed = |_| StoreError::new("the encryption failed");
        let nonce = self.cipher().map_err(failed)?.seal_in_place_append_tag(Aad::from(FORM), &mut *content);
        let nonce = nonce.map_err(failed)?;
        Ok([FORM, nonce.as_ref(), &content].concat())
    }

    /// Decrypts the content in place. Returns `None` if it was not encrypted with this key, is damaged or has a
    /// different form.
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
