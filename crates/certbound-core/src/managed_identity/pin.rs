//! The pinned certificate of a platform's server.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::shown::shown;

/// The SHA-1 hash of a server certificate's whole DER. Service Fabric sets the environment variable
/// `IDENTITY_SERVER_THUMBPRINT` to this hash.
///
/// The platform requires SHA-1. An attacker would need a second certificate with this hash (a second preimage); a
/// collision is not enough.
///
/// ```
/// use certbound_core::managed_identity::ServerThumbprint;
///
/// let pin: ServerThumbprint = "84:98:3e:44:1c:3b:d2:6e:ba:ae:4a:a1:f9:51:29:e5:e5:46:70:f1".parse()?;
/// assert_eq!(pin.to_string(), "84983E441C3BD26EBAAE4AA1F95129E5E54670F1");
/// # Ok::<(), certbound_core::managed_identity::ServerThumbprintError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerThumbprint([u8; 20]);

impl ServerThumbprint {
    /// The thumbprint of a certificate in DER.
    pub fn of_der(der: &[u8]) -> Self {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref());
        Self(bytes)
    }

    /// The 20 bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

/// Writes upper-case hexadecimal, as Windows does.
impl fmt::Display for ServerThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for ServerThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerThumbprint({self})")
    }
}

/// Reads 40 hexadecimal digits in upper or lower case. Colons and white space are ignored.
impl FromStr for ServerThumbprint {
    type Err = ServerThumbprintError;

    fn from_str(text: &str) -> Result<Self, ServerThumbprintError> {
        let digits = text.chars().filter(|c| *c != ':' && !c.is_whitespace());
        let digits: Vec<u8> = digits
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| ServerThumbprintError::NotHexadecimal { shown: shown(text) })?;
        let mut bytes = [0; 20];
        if digits.len() != 2 * bytes.len() {
            return Err(ServerThumbprintError::Length { found: digits.len() });
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| (byte << 4) | digit);
        }
        Ok(Self(bytes))
    }
}

/// The reason why a text is not the thumbprint of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerThumbprintError {
    /// The text has a character that is not a hexadecimal digit.
    #[error("`{shown}` contains a character that is not a hexadecimal digit")]
    NotHexadecimal {
        /// The start of the text, escaped.
        shown: String,
    },
    /// The text has fewer or more than 40 digits.
    #[error(
        "the thumbprint has {found} hexadecimal digits, but the SHA-1 thumbprint of a certificate has 40"
    )]
    Length {
        /// The number of digits.
        found: usize,
    },
}

impl ServerThumbprintError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        "invalid_server_thumbprint"
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        "give the SHA-1 thumbprint of the server's certificate as 40 hexadecimal digits; Service Fabric sets it in IDENTITY_SERVER_THUMBPRINT"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sha_1_of_the_bytes() {
        // The examples of FIPS 180-2, appendix A.
        for (bytes, expected) in [
            (&b"abc"[..], "A9993E364706816ABA3E25717850C26C9CD0D89D"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983E441C3BD26EBAAE4AA1F95129E5E54670F1",
            ),
        ] {
            assert_eq!(ServerThumbprint::of_der(bytes).to_string(), expected);
        }
    }

    #[test]
    fn it_is_read_as_people_and_systems_write_it() {
        let pin = ServerThumbprint::of_der(b"abc");
        for text in [
            "A9993E364706816ABA3E25717850C26C9CD0D89D",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D",
            " a9 99 3e 36 47 06 81 6a ba 3e\t25 71 78 50 c2 6c 9c d0 d8 9d\r\n",
        ] {
            assert_eq!(text.parse(), Ok(pin), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let length = |found| ServerThumbprintError::Length { found };
        let right = "a9993e364706816aba3e25717850c26c9cd0d89d";
        for (text, expected) in [
            (String::new(), length(0)),
            (" : ".to_owned(), length(0)),
            (right[1..].to_owned(), length(39)),
            (format!("{right}0"), length(41)),
            // 64 digits are a SHA-256 hash, not a SHA-1 hash.
            ("0".repeat(64), length(64)),
        ] {
            assert_eq!(text.parse::<ServerThumbprint>(), Err(expected), "{text:?}");
        }
        for odd in ["g9993e364706816aba3e25717850c26c9cd0d89d", "0x993e", "a9-99", "\u{661}\u{200e}a9"] {
            let refused = odd.parse::<ServerThumbprint>();
            assert!(matches!(refused, Err(ServerThumbprintError::NotHexadecimal { .. })), "{odd:?}");
        }
    }
}
