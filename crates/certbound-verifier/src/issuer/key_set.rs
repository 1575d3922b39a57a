//! The keys of issuers, from their JSON Web Key Sets (RFC 7517, section 5).

use certbound_core::json::{self, JsonError};
use certbound_core::jws::{Algorithm, PublicKey};
use serde_json::Value;

use super::Issuer;
use crate::refusal::Refusal;

/// A set of keys. Each key belongs to one issuer, and the set never uses the key for a token of another issuer.
///
/// ```
/// use certbound_verifier::{Algorithm, Issuer, KeySet};
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
    /// The [`Issuer::id`] of the key's issuer.
    owner: String,
    kid: Option<String>,
    /// The `issuer` member of the JWK. Entra writes this member.
    issuer: Option<String>,
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

/// The reason why a document is not a usable key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// The document is larger than [`KeySet::MAX_BYTES`].
    #[error("the key set is {length} bytes long; at most {} bytes are accepted", KeySet::MAX_BYTES)]
    TooLarge {
        /// The length of the document in bytes.
        length: usize,
    },
    /// The document is not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The document has no list `keys`.
    #[error("the key set has no array `keys`")]
    NoKeys,
    /// The document has more than [`KeySet::MAX_KEYS`] keys.
    #[error("the key set has {count} keys; at most {} keys are accepted", KeySet::MAX_KEYS)]
    TooMany {
        /// The number of keys.
        count: usize,
    },
    /// No key of the document can verify signatures.
    #[error(
        "the key set has {count} {}, but no key can verify signatures",
        if *.count == 1 { "key" } else { "keys" }
    )]
    NoneUsable {
        /// The number of keys.
        count: usize,
    },
    /// The keys can verify signatures, but only of algorithms that are not accepted.
    #[error("the keys are for {found}, but the accepted algorithms are {accepted}")]
    NoneAccepted {
        /// The algorithms of the keys. A key that names no algorithm is listed by its kind.
        found: String,
        /// The names of the accepted algorithms.
        accepted: String,
    },
}

impl KeySet {
    /// The largest document that is read, in bytes.
    pub const MAX_BYTES: usize = 512 * 1024;
    /// The largest number of keys in a document.
    pub const MAX_KEYS: usize = 128;
    /// The largest number of keys with which a token is verified.
    const MAX_TRIED: usize = 8;

    /// Returns an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses a JSON Web Key Set for `issuer`.
    ///
    /// Unusable keys are skipped (RFC 7517, section 5), for example keys for encryption, keys of unknown kinds, RSA
    /// keys under 2048 bits or with an even exponent, and keys that match no accepted algorithm of the issuer.
    ///
    /// # Errors
    /// [`KeySetError`], also if no key can be used.
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

    /// Adds one key with its `kid`.
    pub fn with_key(mut self, issuer: &Issuer, kid: impl Into<String>, key: PublicKey) -> Self {
        let (kid, owner) = (Some(kid.into()), issuer.id().to_owned());
        self.0.push(Key { owner, kid, issuer: None, algorithm: None, key });
        self
    }

    /// Adds the keys of another set.
    pub fn and(mut self, other: KeySet) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the set has a key for the token (see [`KeySet::candidates`]). The key may belong to any tenant.
    pub(crate) fn has(&self, issuer: &Issuer, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.to_try(issuer, kid, algorithm).next().is_some()
    }

    /// Whether a key of the token's algorithm has exactly the `kid` of the token. A key without a `kid` is tried too, but
    /// it is possibly not the token's key.
    pub(crate) fn names(&self, issuer: &Issuer, kid: Option<&str>, algorithm: Algorithm) -> bool {
        kid.is_some() && self.to_try(issuer, kid, algorithm).any(|key| key.kid.is_some())
    }

    /// Returns the keys with which a token is verified, at most [`KeySet::MAX_TRIED`].
    ///
    /// These are the keys of the token's algorithm that have its `kid`, then the keys without a `kid`. For a token
    /// without a `kid`, they are all keys of its algorithm.
    ///
    /// # Errors
    /// [`Refusal::KeyOfAnotherIssuer`] if all these keys belong to other tenants or issuers; [`Refusal::UnknownKey`] if
    /// the set has no key for the token.
    pub(crate) fn candidates<'s>(
        &'s self,
        issuer: &Issuer,
        kid: Option<&str>,
        tenant: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<&'s PublicKey>, Refusal> {
        let is_own = |key: &&Key| key.issuer.as_deref().is_none_or(|of| issuer.owns_key(of, tenant));
        let own = self.to_try(issuer, kid, algorithm).filter(is_own).map(|key| &key.key);
        let keys: Vec<_> = own.take(Self::MAX_TRIED).collect();
        if !keys.is_empty() {
            Ok(keys)
        } else if self.has(issuer, kid, algorithm) {
            Err(Refusal::KeyOfAnotherIssuer)
        } else {
            Err(Refusal::UnknownKey)
        }
    }

    fn to_try<'s>(
        &'s self,
        issuer: &Issuer,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'s Key> {
        let fitting = move |key: &&Key| key.owner == issuer.id() && key.fits(algorithm);
        let named = self.0.iter().filter(move |key| kid.is_none() || key.kid.as_deref() == kid);
        let nameless = self.0.iter().filter(move |key| kid.is_some() && key.kid.is_none());
        named.chain(nameless).filter(fitting)
    }
}

/// The reason why a key of a document is skipped.
enum Skipped {
    OfNoUse,
    /// The key is for an algorithm that is not accepted. The value is the algorithm, such as `RS256`, or the kind of
    /// the key, such as `RSA`, if the key names no algorithm.
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
        let owner = issuer.id().to_owned();
        let key = Self { owner, kid: text("kid")?, issuer: text("issuer")?, algorithm, key };
        if issuer.algorithms().iter().any(|accepted| key.fits(*accepted)) {
            Ok(key)
        } else {
            Err(Skipped::NotAccepted(algorithm.map_or(key.key.kind(), Algorithm::name)))
        }
    }

    /// Whether the key verifies tokens of this algorithm. A key that names an algorithm is used for that algorithm
    /// only.
    fn fits(&self, algorithm: Algorithm) -> bool {
        self.key.fits(algorithm) && self.algorithm.is_none_or(|named| is_same(named, algorithm))
    }
}

/// Whether two names mean the same algorithm: `EdDSA` with a key on Ed25519 is `Ed25519` (RFC 9864, section 2.2).
fn is_same(named: Algorithm, algorithm: Algorithm) -> bool {
    let fully = |algorithm| if algorithm == Algorithm::EdDsa { Algorithm::Ed25519 } else { algorithm };
    fully(named) == fully(algorithm)
}
