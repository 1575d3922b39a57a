//! The keys of issuers, as their JSON Web Key Sets publish them (RFC 7517, section 5).

use certbound_core::json::{self, JsonError};
use certbound_core::jws::{Algorithm, PublicKey};
use serde_json::Value;

use crate::issuer::{Issuer, IssuerId};

/// Keys, each filed under the issuer that it was read for. A key never verifies a token of another issuer.
///
/// ```
/// use certbound_core::jws::Algorithm;
/// use certbound_verifier::{Issuer, KeySet};
///
/// let issuer = Issuer::oidc("https://idp.example", [Algorithm::EdDsa])?;
/// let jwks = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// let keys = KeySet::of_jwks(&issuer, jwks)?;
/// assert_eq!(keys.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug, PartialEq)]
struct Key {
    owner: IssuerId,
    kid: Option<String>,
    /// The JWK's own `issuer`, which Entra writes.
    issuer: Option<String>,
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

/// Why a document is not a usable key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Larger than [`KeySet::MAX_BYTES`].
    #[error("it is {length} bytes long; at most {} are read", KeySet::MAX_BYTES)]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// No `keys`, or not a list.
    #[error("it has no list `keys`")]
    NoKeys,
    /// More than [`KeySet::MAX_KEYS`].
    #[error("it has {count} keys; at most {} are read", KeySet::MAX_KEYS)]
    TooMany {
        /// How many it has.
        count: usize,
    },
    /// None of its keys can be used.
    #[error("none of its {count} keys can be used for verifying")]
    NoneUsable {
        /// How many it has.
        count: usize,
    },
}

impl KeySet {
    /// The largest document that is read.
    pub const MAX_BYTES: usize = 512 * 1024;
    /// The most keys a document may have.
    pub const MAX_KEYS: usize = 128;
    /// The most keys of one `kid` that a token is tried with.
    const MAX_TRIED: usize = 4;

    /// No keys at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a JSON Web Key Set for `issuer`.
    ///
    /// Keys that cannot be used are skipped, as the standard asks: for encryption, of unknown kinds, RSA under 2048 bits
    /// or with an even exponent.
    ///
    /// # Errors
    /// [`KeySetError`]; a set without any usable key is one too.
    pub fn of_jwks(issuer: &Issuer, document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > Self::MAX_BYTES {
            return Err(KeySetError::TooLarge { length: document.len() });
        }
        let document = json::parse_object(document)?;
        let listed = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        if listed.len() > Self::MAX_KEYS {
            return Err(KeySetError::TooMany { count: listed.len() });
        }
        let keys: Vec<Key> = listed.iter().filter_map(|jwk| Key::read(issuer, jwk)).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoneUsable { count: listed.len() });
        }
        Ok(Self(keys))
    }

    /// Adds one key under its `kid`.
    pub fn with_key(mut self, issuer: &Issuer, kid: impl Into<String>, key: PublicKey) -> Self {
        let (kid, owner) = (Some(kid.into()), issuer.id());
        self.0.push(Key { owner, kid, issuer: None, algorithm: None, key });
        self
    }

    /// Adds the keys of another set.
    pub fn and(mut self, other: KeySet) -> Self {
        self.0.extend(other.0);
        self
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a token of `issuer` with this `kid` finds a key here.
    pub(crate) fn has(&self, issuer: &Issuer, kid: Option<&str>) -> bool {
        self.of(issuer, kid).next().is_some()
    }

    /// The keys to try: all that have the very same `kid`. A token without one matches keys without one.
    pub(crate) fn candidates<'s>(
        &'s self,
        issuer: &Issuer,
        kid: Option<&str>,
        tenant: Option<&str>,
        algorithm: Algorithm,
    ) -> Candidates<'s> {
        let mut found = Candidates::Unknown;
        for key in self.of(issuer, kid).take(Self::MAX_TRIED) {
            if key.issuer.as_deref().is_some_and(|of| !issuer.owns_key(of, tenant)) {
                if matches!(found, Candidates::Unknown) {
                    found = Candidates::OfAnother;
                }
            } else if key.algorithm.is_none_or(|only| only == algorithm) {
                match &mut found {
                    Candidates::Keys(keys) => keys.push(&key.key),
                    _ => found = Candidates::Keys(vec![&key.key]),
                }
            }
        }
        found
    }

    fn of<'s>(&'s self, issuer: &Issuer, kid: Option<&str>) -> impl Iterator<Item = &'s Key> {
        self.0.iter().filter(move |key| key.kid.as_deref() == kid && issuer.is(&key.owner))
    }
}

/// What a `kid` leads to.
pub(crate) enum Candidates<'s> {
    Unknown,
    OfAnother,
    Keys(Vec<&'s PublicKey>),
}

impl Key {
    fn read(issuer: &Issuer, jwk: &Value) -> Option<Self> {
        let jwk = jwk.as_object()?;
        let text = |name: &str| match jwk.get(name) {
            None => Some(None),
            Some(Value::String(text)) => Some(Some(text.clone())),
            Some(_) => None,
        };
        let key = PublicKey::from_jwk(jwk).ok()?;
        let algorithm = match text("alg")? {
            None => None,
            // A key for an algorithm that is not accepted is a key that is not used.
            Some(name) => Some(*issuer.algorithms().iter().find(|known| known.name() == name)?),
        };
        let fits = |algorithm: &Algorithm| key.fits(*algorithm);
        let usable = algorithm.as_ref().map_or_else(|| issuer.algorithms().iter().any(fits), fits);
        usable.then_some(Self {
            owner: issuer.id(),
            kid: text("kid")?,
            issuer: text("issuer")?,
            algorithm,
            key,
        })
    }
}
