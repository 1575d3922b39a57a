//! Text that must not be seen: tokens, assertions, client secrets, passwords.

use std::fmt;

use zeroize::Zeroizing;

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
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; nothing of it is copied when it is a `String`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
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
