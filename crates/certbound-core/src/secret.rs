//! Text that must not be seen: tokens, assertions, client secrets, passwords.

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::Zeroize as _;

/// A secret text: wiped from memory when dropped, and never printed.
///
/// It does not protect against swapping or core dumps, and copies made from [`Secret::expose`] are their maker's to
/// wipe. It is neither `Clone` nor `Display`, so that a copy or a print is a decision.
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
    /// Takes the text over; nothing of it is copied when it is a `String`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Keep it out of logs and errors.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text at all.
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

/// A buffer of bytes that hold a secret: wiped from memory when dropped, and never printed.
///
/// It is a `Vec` to whoever fills it. One that outgrows its capacity moves and leaves a copy behind: make it as large as it
/// gets.
#[derive(Default)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// An empty buffer with room for so many bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }
}

/// Takes the bytes over; none of them is copied.
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

/// Wipes the whole allocation in two steps; a `Vec`'s own `zeroize` takes one for every byte.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.as_mut_slice().zeroize();
    bytes.spare_capacity_mut().zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is beyond its length, safe code cannot look at.
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
