//! The hash of a rejected token. The token itself need not be stored.

use std::fmt;

use certbound_core::certificate::Thumbprint;
use certbound_core::secret::Secret;

/// The SHA-256 of an access token. With this hash, `.rejected(..)` replaces exactly that token and no newer token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Returns the hash of a token.
    pub fn of(token: &Secret) -> Self {
        // `Thumbprint::of_der` is used because a certificate's thumbprint is also the SHA-256 of bytes.
        Self(*Thumbprint::of_der(token.expose().as_bytes()).as_bytes())
    }

    /// Wraps a hash that was computed elsewhere.
    pub fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// Parses a hash of 64 hexadecimal digits in upper or lower case. Returns `None` for every other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).filter(|digits| !digits.starts_with('+'))?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// Returns the hash in lower-case hexadecimal.
    pub(crate) fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_named_by_its_hash() {
        // The hash is a vector of MSAL's own tests.
        let hash = TokenHash::of(&Secret::new("test_token"));
        let hex = "cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656";
        assert_eq!(TokenHash::from_hex(hex), Some(hash));
        assert_eq!(TokenHash::from_hex(&hex.to_uppercase()), Some(hash));
        for other in [
            "",
            "cc0a",
            &hex.replace("cc", "+c"),
            &hex.replace("cc", "xx"),
            &hex.replace("cc0a", "\u{20ac}a"),
        ] {
            assert_eq!(TokenHash::from_hex(other), None, "{other}");
        }
        assert_eq!(hash.hex(), "cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656");
    }
}
