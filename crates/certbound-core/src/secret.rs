//! Text that must not be shown: tokens, assertions, client secrets, passwords.

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::Zeroize as _;

/// A secret text. It is wiped from memory when it is dropped, and never printed.
///
/// It does not protect against swapping or core dumps. A caller that copies the text of [`Secret::expose`] must wipe
/// the copy. The type is neither `Clone` nor `Display`, so that each copy or print is explicit in the code.
///
/// ```
/// use certbound_core::secret::Secret;
///
/// let secret = Secret::new("correct horse");
/// assert_eq!(format!("{secret:?}"), "Secret(13 bytes)");
/// assert_eq!(secret.expose(), "correct horse");
/// ```
pub struct Secret(String);

impl Secret {
    /// Takes the text. A `String` is not copied.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Keep it out of logs and errors.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.len())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut std::mem::take(&mut self.0).into_bytes());
    }
}

/// A buffer of secret bytes. It is wiped from memory when it is dropped, and never printed.
///
/// It can be filled like a `Vec`. A `Vec` that grows beyond its capacity leaves a copy of the bytes in memory, so
/// choose a capacity that is large enough.
#[derive(Default)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Makes an empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }
}

/// Takes the bytes without a copy.
impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for SecretBytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for SecretBytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl AsRef<[u8]> for SecretBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len())
    }
}

/// Wipes the whole allocation: the bytes and the spare capacity. `Vec::zeroize` is slower, because it wipes each byte
/// by itself.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.as_mut_slice().zeroize();
    bytes.spare_capacity_mut().zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spare capacity is not checked: safe code cannot read it.
    #[test]
    fn every_byte_is_wiped() {
        for length in [0, 1, 7, 15, 16, 17, 63, 64, 65, 4096, 5001] {
            let mut bytes = vec![0xa5; length];
            let capacity = bytes.capacity();
            wipe(&mut bytes);
            assert_eq!((&bytes, bytes.capacity()), (&vec![0; length], capacity));
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let mut bytes = SecretBytes::with_capacity(20);
        bytes.extend_from_slice(b"hidden");
        let shown = format!("{bytes:?} {:?} {:#?}", Secret::new("hidden"), Secret::new("hidden"));
        assert!(shown.starts_with("SecretBytes(6 bytes)") && !shown.contains("hidden"), "{shown}");
    }
}
