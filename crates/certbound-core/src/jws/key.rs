//! Public keys and the algorithms they verify.

use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey as SubjectKey;

/// A signature algorithm (RFC 7518, section 3.1). There is no `none` and no shared-secret one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: what Entra signs its tokens with.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// Its name in a header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A key that signatures are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Key);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { point: Vec<u8> },
}

const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;
const P256_POINT_BYTES: usize = 65;

impl PublicKey {
    /// An RSA key from modulus and exponent, big-endian.
    ///
    /// # Errors
    /// [`KeyError`] for less than 2048 or more than 8192 bits, and for an exponent that is even, 1, or above 2^33.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        if e.len() > 4 || e == [1] || e.last().is_none_or(|byte| byte % 2 == 0) {
            return Err(KeyError::RsaExponent);
        }
        Ok(Self(Key::Rsa { n: n.to_vec(), e: e.to_vec() }))
    }

    /// The key of a certificate in DER.
    ///
    /// # Errors
    /// [`KeyError`] when it does not parse or its key is neither RSA nor on P-256.
    pub fn from_certificate(der: &[u8]) -> Result<Self, KeyError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| KeyError::NotACertificate)?;
        match certificate.public_key().parsed() {
            Ok(SubjectKey::RSA(key)) => Self::rsa(key.modulus, key.exponent),
            Ok(SubjectKey::EC(point)) if point.data().len() == P256_POINT_BYTES => {
                Ok(Self(Key::P256 { point: point.data().to_vec() }))
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    /// An RSA key from a JWK (RFC 7517).
    ///
    /// # Errors
    /// [`KeyError`] for another `kty`, a `use` other than `sig`, and members that are missing or not base64url.
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        if text("kty") != Some("RSA") || text("use").is_some_and(|purpose| purpose != "sig") {
            return Err(KeyError::Unsupported);
        }
        let number =
            |name| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(KeyError::BadJwk);
        Self::rsa(&number("n")?, &number("e")?)
    }

    /// Modulus and exponent of an RSA key, big-endian without leading zeros.
    pub fn rsa_components(&self) -> Option<(&[u8], &[u8])> {
        match &self.0 {
            Key::Rsa { n, e } => Some((n, e)),
            Key::P256 { .. } => None,
        }
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (&self.0, algorithm) {
            (Key::Rsa { n, e }, Algorithm::Rs256 | Algorithm::Ps256) => {
                let parameters = match algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            (Key::P256 { point }, Algorithm::Es256) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .is_ok()
            }
            _ => false,
        }
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// Why a key is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// RSA of a size outside 2048 to 8192 bits.
    #[error("an RSA key of {bits} bits is not accepted")]
    RsaSize {
        /// Its size.
        bits: usize,
    },
    /// An RSA exponent that is even, 1 or overlong.
    #[error("the RSA key's exponent is not accepted")]
    RsaExponent,
    /// Not X.509.
    #[error("it is not a certificate")]
    NotACertificate,
    /// A JWK member missing or not base64url.
    #[error("the JWK lacks a member or holds one that is not base64url")]
    BadJwk,
    /// Neither RSA nor P-256, or not for signatures.
    #[error("the key is neither RSA nor P-256, or not for signatures")]
    Unsupported,
}
