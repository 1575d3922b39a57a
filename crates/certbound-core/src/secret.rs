//! Text that must not be shown: tokens, assertions, client secrets, passwords.

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::Zeroizing;

/// A secret text. It is wiped from memory when it is dropped, and never printed.
///
/// The type does not protect against swapping or core dumps. A caller that copies the text of [`Secret::expose`] must
/// wipe the copy. The type is neither `Clone` nor `Display`, so that each copy or print is explicit in the code.
///
/// ```
/// use certbound_core::secret::Secret;
///
/// let secret = Secret::new("correct horse");
/// assert_eq!(format!("{secret:?}"), "Secret(13 bytes)");
/// assert_eq!(secret.expose(), "correct horse");
/// ```
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Makes a secret from a text. A `String` is not copied.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
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

/// A buffer of secret bytes. It is wiped from memory when it is dropped, and never printed.
///
/// It can be filled like a `Vec`. A `Vec` that grows beyond its capacity leaves a copy of the bytes in memory, so
/// choose a sufficient capacity.
#[derive(Default)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Makes an empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }
}

/// Converts the bytes without a copy.
impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
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

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let mut bytes = SecretBytes::with_capacity(20);
        bytes.extend_from_slice(b"hidden");
        let shown = format!("{bytes:?} {:?} {:#?}", Secret::new("hidden"), Secret::new("hidden"));
        assert!(shown.starts_with("SecretBytes(6 bytes)") && !shown.contains("hidden"), "{shown}");
    }
}
