//! The kind of a public key.

use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// RSA.
    Rsa {
        /// The size of the modulus in bits.
        bits: usize,
    },
    /// An elliptic curve.
    Ec {
        /// The curve. The value is `None` if the key does not name one of the known curves.
        curve: Option<Curve>,
    },
    /// Any other kind of key.
    Other,
}

impl KeyAlgorithm {
    /// Returns the kind of a public key. `der` is a `SubjectPublicKeyInfo` in DER. The result is `None` if the bytes
    /// are not exactly one public key.
    pub fn of_public_key(der: &[u8]) -> Option<Self> {
        match SubjectPublicKeyInfo::from_der(der) {
            Ok(([], key)) => Some(Self::of(&key)),
            _ => None,
        }
    }

    pub(super) fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        match key.parsed() {
            Ok(PublicKey::RSA(key)) => Self::Rsa { bits: bits(key.modulus) },
            Ok(PublicKey::EC(_)) => Self::Ec { curve: Curve::of(&key.algorithm) },
            _ => Self::Other,
        }
    }
}

/// Returns the length of a number in bits. The number is big-endian and can have leading zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let significant = number.get(zeros..).unwrap_or_default();
    let unused = significant.first().map_or(0, |byte| byte.leading_zeros() as usize);
    significant.len() * 8 - unused
}

/// A named curve of NIST (RFC 5480, section 2.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[non_exhaustive]
pub enum Curve {
    /// P-256, also called secp256r1 and prime256v1.
    #[strum(serialize = "P-256")]
    P256,
    /// P-384, also called secp384r1.
    #[strum(serialize = "P-384")]
    P384,
    /// P-521, also called secp521r1.
    #[strum(serialize = "P-521")]
    P521,
}

impl Curve {
    /// Returns the curve with this object identifier, which is written with dots. The result is `None` for every other
    /// identifier.
    pub fn of_oid(oid: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|curve| curve.oid() == oid)
    }

    /// Returns the object identifier of the curve, written with dots.
    pub fn oid(self) -> &'static str {
        match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        }
    }

    /// Returns the length of a coordinate in bytes. An uncompressed point is the byte 4 and two coordinates.
    pub fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Returns the curve that the parameters of a key name.
    pub(crate) fn of(algorithm: &AlgorithmIdentifier<'_>) -> Option<Self> {
        let name = algorithm.parameters.as_ref()?.as_oid().ok()?;
        Self::of_oid(&name.to_id_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_modulus_is_exact() {
        for (number, expected) in [
            (&[0x80, 0, 0][..], 24),
            (&[0, 0x80, 0], 16),
            (&[0x7f, 0xff], 15),
            (&[0x02, 0x00], 10),
            (&[0, 0], 0),
            (&[], 0),
        ] {
            assert_eq!(bits(number), expected, "{number:?}");
        }
    }
}
