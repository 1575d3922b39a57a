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
    /// Keys that could be used, but for other algorithms than the accepted ones.
    #[error("its keys are for {found}, and none is for an accepted algorithm ({accepted})")]
    NoneAccepted {
        /// What they are for: algorithms where the keys name them, and kinds of keys otherwise.
        found: String,
        /// The names of the accepted algorithms.
        accepted: String,
    },
}

impl KeySet {
    /// The largest document that is read.
    pub const MAX_BYTES: usize = 512 * 1024;
    /// The most keys a document may have.
    pub const MAX_KEYS: usize = 128;
    /// The most keys that a token is tried with.
    const MAX_TRIED: usize = 8;

    /// No keys at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a JSON Web Key Set for `issuer`.
    ///
    /// Keys that cannot be used are skipped, as the standard asks: for encryption, of unknown kinds, RSA under 2048 bits
    /// or with an even exponent, and keys that fit none of the issuer's accepted algorithms.
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
        let (mut keys, mut others) = (Vec::new(), Vec::new());
        for jwk in listed {
            match Key::read(issuer, jwk) {
                Ok(key) => keys.push(key),
                Err(Skipped::OfNoUse) => {}
                Err(Skipped::NotAccepted(purpose)) if others.contains(&purpose) => {}
                Err(Skipped::NotAccepted(purpose)) => others.push(purpose),
            }
        }
        if !keys.is_empty() {
            return Ok(Self(keys));
        }
        if others.is_empty() {
            return Err(KeySetError::NoneUsable { count: listed.len() });
        }
        Err(KeySetError::NoneAccepted {
            found: others.join(", "),
            accepted: Algorithm::names(issuer.algorithms()),
        })
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

    /// Whether there is a key to try: what [`KeySet::candidates`] finds.
    pub(crate) fn has(&self, issuer: &Issuer, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.to_try(issuer, kid, algorithm).next().is_some()
    }

    /// Whether a key has the very `kid` of a token. Another key that is tried may not be the one that was meant.
    pub(crate) fn names(&self, issuer: &Issuer, kid: Option<&str>) -> bool {
        kid.is_some() && self.0.iter().any(|key| key.kid.as_deref() == kid && issuer.is(&key.owner))
    }

    /// The keys to try, at most [`KeySet::MAX_TRIED`].
    ///
    /// They are those of the token's algorithm that have its `kid`, and after them those without a `kid`; for a token
    /// without one, all of its algorithm.
    pub(crate) fn candidates<'s>(
        &'s self,
        issuer: &Issuer,
        kid: Option<&str>,
        tenant: Option<&str>,
        algorithm: Algorithm,
    ) -> Candidates<'s> {
        let is_own = |key: &&Key| key.issuer.as_deref().is_none_or(|of| issuer.owns_key(of, tenant));
        let own = self.to_try(issuer, kid, algorithm).filter(is_own).map(|key| &key.key);
        let keys: Vec<_> = own.take(Self::MAX_TRIED).collect();
        if !keys.is_empty() {
            Candidates::Keys(keys)
        } else if self.has(issuer, kid, algorithm) {
            Candidates::OfAnother
        } else {
            Candidates::Unknown
        }
    }

    fn to_try<'s>(
        &'s self,
        issuer: &Issuer,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'s Key> {
        let fitting = move |key: &&Key| issuer.is(&key.owner) && key.fits(algorithm);
        let named = self.0.iter().filter(move |key| kid.is_none() || key.kid.as_deref() == kid);
        let nameless = self.0.iter().filter(move |key| kid.is_some() && key.kid.is_none());
        named.chain(nameless).filter(fitting)
    }
}

/// What a `kid` leads to.
pub(crate) enum Candidates<'s> {
    Unknown,
    OfAnother,
    Keys(Vec<&'s PublicKey>),
}

/// Why a key of a document is not read.
enum Skipped {
    OfNoUse,
    /// Such as `RS256`, or `RSA` where the key names no algorithm.
    NotAccepted(&'static str),
}

impl Key {
    fn read(issuer: &Issuer, jwk: &Value) -> Result<Self, Skipped> {
        let jwk = jwk.as_object().ok_or(Skipped::OfNoUse)?;
        let text = |name: &str| match jwk.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Skipped::OfNoUse),
        };
        let key = PublicKey::from_jwk(jwk).map_err(|_| Skipped::OfNoUse)?;
        let algorithm = match text("alg")? {
            None => None,
            Some(name) => Some(Algorithm::by_name(&name).ok_or(Skipped::OfNoUse)?),
        };
        if algorithm.is_some_and(|algorithm| !key.fits(algorithm)) {
            return Err(Skipped::OfNoUse);
        }
        let key = Self { owner: issuer.id(), kid: text("kid")?, issuer: text("issuer")?, algorithm, key };
        if issuer.algorithms().iter().any(|accepted| key.fits(*accepted)) {
            Ok(key)
        } else {
            Err(Skipped::NotAccepted(algorithm.map_or(key.key.kind(), Algorithm::name)))
        }
    }

    /// Whether the key verifies tokens of this algorithm. One that names its algorithm serves no other.
    fn fits(&self, algorithm: Algorithm) -> bool {
        self.key.fits(algorithm) && self.algorithm.is_none_or(|named| is_same(named, algorithm))
    }
}

/// `EdDSA` with a key on Ed25519 is `Ed25519` (RFC 9864, section 2.2).
fn is_same(named: Algorithm, algorithm: Algorithm) -> bool {
    let fully = |algorithm| if algorithm == Algorithm::EdDsa { Algorithm::Ed25519 } else { algorithm };
    fully(named) == fully(algorithm)
}
