//! Public keys, and the algorithms whose signatures they verify.

mod curve;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey as SubjectKey;

use self::curve::{Curve, P256};
use super::Algorithm;
use crate::certificate;

/// A public key that verifies signatures. It is parsed once and is cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Key);

#[derive(Clone)]
enum Key {
    Rsa(Arc<Rsa>),
    Ec(&'static Curve, ParsedPublicKey),
    Ed25519(ParsedPublicKey),
}

/// An RSA key, parsed once for each of its six algorithms.
struct Rsa {
    n: Vec<u8>,
    e: Vec<u8>,
    parsed: [(Algorithm, ParsedPublicKey); 6],
}

impl Key {
    fn kind(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RSA",
            Self::Ec(curve, _) => curve.name,
            Self::Ed25519(_) => "Ed25519",
        }
    }

    /// Returns the bytes of the key. Two keys of one kind are the same if and only if their bytes are equal.
    fn material(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Rsa(rsa) => (&rsa.n, &rsa.e),
            Self::Ec(_, point) | Self::Ed25519(point) => (point.as_ref(), &[]),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.material() == other.material()
    }
}

impl Eq for Key {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.0.kind())
    }
}

const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;

/// The algorithms of RSA keys. The list is searched in order, so Entra's algorithm is the first.
const RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
];

impl PublicKey {
    /// Makes an RSA key from modulus and exponent, both big-endian.
    ///
    /// # Errors
    /// [`KeyError`] if the modulus has fewer than 2048 or more than 8192 bits, or if the exponent is even, 1, or longer
    /// than 32 bits.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        if e.len() > 4 || e == [1] || e.last().is_none_or(|byte| byte % 2 == 0) {
            return Err(KeyError::RsaExponent);
        }
        let components = RsaPublicKeyComponents { n, e };
        let mut parsed = Vec::with_capacity(RSA.len());
        for (algorithm, parameters) in RSA {
            let key = components.to_parsed_public_key(parameters).map_err(|_| KeyError::NotAKey)?;
            parsed.push((algorithm, key));
        }
        let parsed = parsed.try_into().map_err(|_| KeyError::NotAKey)?;
        Ok(Self(Key::Rsa(Arc::new(Rsa { n: n.to_vec(), e: e.to_vec(), parsed }))))
    }

    /// Makes a key from a curve and an uncompressed point.
    fn ec(curve: &'static Curve, point: &[u8]) -> Result<Self, KeyError> {
        let parsed = ParsedPublicKey::new(curve.verification, point);
        parsed.map(|key| Self(Key::Ec(curve, key))).map_err(|_| KeyError::NotAKey)
    }

    /// Returns the key of a certificate in DER.
    ///
    /// # Errors
    /// [`KeyError`] if the certificate does not parse or has bytes after its end, or if its key is neither RSA nor
    /// P-256. An RSA key must be within the limits of [`PublicKey::rsa`].
    pub fn from_certificate(der: &[u8]) -> Result<Self, KeyError> {
        let Ok(([], certificate)) = X509Certificate::from_der(der) else {
            return Err(KeyError::NotACertificate);
        };
        let info = certificate.public_key();
        match info.parsed() {
            Ok(SubjectKey::RSA(key)) => Self::rsa(key.modulus, key.exponent),
            // The curve's OID is compared too, because other curves have points of the same length.
            Ok(SubjectKey::EC(point))
                if certificate::Curve::of(&info.algorithm) == Some(certificate::Curve::P256)
                    && point.data().len() == 1 + 2 * P256.coordinate_bytes =>
            {
                Self::ec(&P256, point.data())
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    /// Reads a key from a JWK (RFC 7517): RSA, EC on P-256, P-384 or P-521, or OKP on Ed25519.
    ///
    /// `kid` and `alg` are not checked; the caller must check them. Members that are not needed, such as `x5c`, are
    /// ignored.
    ///
    /// # Errors
    /// [`KeyError`] for any other `kty` or curve, a `use` other than `sig`, `key_ops` without `verify`, and members
    /// that are missing, of the wrong length or not base64url. An RSA key must be within the limits of
    /// [`PublicKey::rsa`].
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        let may_verify = match jwk.get("key_ops") {
            None => true,
            Some(operations) => {
                operations.as_array().is_some_and(|list| list.iter().any(|name| name == "verify"))
            }
        };
        if jwk.get("use").is_some_and(|purpose| purpose != "sig") || !may_verify {
            return Err(KeyError::Unsupported);
        }
        let bytes =
            |name| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(KeyError::BadJwk);
        match (text("kty"), text("crv")) {
            (Some("RSA"), _) => Self::rsa(&bytes("n")?, &bytes("e")?),
            (Some("EC"), Some(name)) => {
                let curve = Curve::by_name(name).ok_or(KeyError::Unsupported)?;
                let (x, y) = (bytes("x")?, bytes("y")?);
                if [&x, &y].iter().any(|coordinate| coordinate.len() != curve.coordinate_bytes) {
                    return Err(KeyError::BadJwk);
                }
                Self::ec(curve, &[&[0x04], x.as_slice(), y.as_slice()].concat())
            }
            (Some("OKP"), Some("Ed25519")) => {
                let x = bytes("x")?;
                if x.len() != 32 {
                    return Err(KeyError::BadJwk);
                }
                let parsed = ParsedPublicKey::new(&signature::ED25519, &x);
                parsed.map(|key| Self(Key::Ed25519(key))).map_err(|_| KeyError::NotAKey)
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    /// Returns modulus and exponent of an RSA key, big-endian without leading zeros. The result is `None` for any other
    /// key.
    pub fn rsa_components(&self) -> Option<(&[u8], &[u8])> {
        match &self.0 {
            Key::Rsa(rsa) => Some((&rsa.n, &rsa.e)),
            Key::Ec(..) | Key::Ed25519(_) => None,
        }
    }

    /// The kind of the key: `RSA`, or the name of its curve.
    pub fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// Whether the key can verify signatures of this algorithm.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.parsed_for(algorithm).is_some()
    }

    fn parsed_for(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        match (&self.0, algorithm) {
            (Key::Rsa(rsa), _) => {
                rsa.parsed.iter().find(|(served, _)| *served == algorithm).map(|(_, key)| key)
            }
            (Key::Ec(curve, key), _) => (curve.algorithm == algorithm).then_some(key),
            (Key::Ed25519(key), Algorithm::EdDsa | Algorithm::Ed25519) => Some(key),
            (Key::Ed25519(_), _) => None,
        }
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.parsed_for(algorithm).is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// The reason why a key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The RSA key has fewer than 2048 or more than 8192 bits.
    #[error("an RSA key of {bits} bits is not accepted; it must have 2048 to 8192 bits")]
    RsaSize {
        /// The size of the key in bits.
        bits: usize,
    },
    /// The RSA exponent is even, 1, or longer than 32 bits.
    #[error(
        "the RSA key's exponent is not accepted; it must be odd, greater than 1, and at most 32 bits long"
    )]
    RsaExponent,
    /// The bytes are not an X.509 certificate.
    #[error("it is not a certificate")]
    NotACertificate,
    /// A member of the JWK is missing, is not base64url, or has the wrong length.
    #[error("a member of the JWK is missing, is not base64url, or has the wrong length")]
    BadJwk,
    /// The kind of key is not supported, or the key is not intended to verify signatures.
    #[error(
        "the key is not supported: it must be RSA, P-256, P-384, P-521 or Ed25519, and it must be intended to verify signatures"
    )]
    Unsupported,
    /// The values do not form a valid key; for example, the point is not on the curve.
    #[error("its values do not form a valid key")]
    NotAKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_rsa_keys_are_refused() {
        let n = [0xff; 256];
        assert!(PublicKey::rsa(&n, &[1, 0, 1]).is_ok());
        assert_eq!(PublicKey::rsa(&[&[0][..], &n].concat(), &[0, 3]), PublicKey::rsa(&n, &[3]));
        for e in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
            assert_eq!(PublicKey::rsa(&n, e), Err(KeyError::RsaExponent), "{e:?}");
        }
        let mut short = n;
        short[0] = 0x7f;
        assert_eq!(PublicKey::rsa(&short, &[3]), Err(KeyError::RsaSize { bits: 2047 }));
        assert_eq!(PublicKey::rsa(&[0xff; 1025], &[3]), Err(KeyError::RsaSize { bits: 8200 }));
        assert_eq!(PublicKey::rsa(&[], &[3]), Err(KeyError::RsaSize { bits: 0 }));
    }

    #[test]
    fn only_a_signing_key_of_rsa_is_read_from_a_jwk() {
        let n = URL_SAFE_NO_PAD.encode([0xff; 256]);
        let read = |json: String| PublicKey::from_jwk(&crate::json::parse_object(json.as_bytes()).unwrap());
        assert!(read(format!(r#"{{"kty":"RSA","use":"sig","n":"{n}","e":"AQAB"}}"#)).is_ok());
        for (json, error) in [
            (format!(r#"{{"kty":"RSA","use":"enc","n":"{n}","e":"AQAB"}}"#), KeyError::Unsupported),
            (format!(r#"{{"kty":"EC","n":"{n}","e":"AQAB"}}"#), KeyError::Unsupported),
            (format!(r#"{{"kty":"RSA","n":"{n}=","e":"AQAB"}}"#), KeyError::BadJwk),
            (format!(r#"{{"kty":"RSA","n":"{n}"}}"#), KeyError::BadJwk),
            (format!(r#"{{"kty":"RSA","n":"{n}","e":65537}}"#), KeyError::BadJwk),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(), KeyError::RsaSize { bits: 17 }),
        ] {
            assert_eq!(read(json.clone()), Err(error), "{json}");
        }
    }
}
