//! The keys that sign tokens, and their published form.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use certbound_core::jws::{self, PublicKey};
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;
use serde_json::{Map, Value, json};

use super::ca;
use super::seed::KeySource;
use crate::error::EmulatorError;

/// The maximum number of published keys: the signing key and the previous key.
const LIVE_KEYS: usize = 2;

/// One 2048-bit RSA key that signs tokens.
pub(crate) struct TokenKey {
    kid: String,
    key: RsaKeyPair,
    public: PublicKey,
    certificate: Vec<u8>,
}

impl TokenKey {
    pub(crate) fn generate(now: UnixTime, keys: &mut KeySource) -> Result<Self, EmulatorError> {
        let pair = keys.rsa()?;
        let certificate = ca::for_token_key(&pair, now)?;
        let key = RsaKeyPair::from_pkcs8(pair.serialized_der()).map_err(EmulatorError::key_material)?;
        let public = PublicKey::from_certificate(&certificate).map_err(EmulatorError::key_material)?;
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate));
        Ok(Self { kid, key, public, certificate })
    }

    /// Returns the key id, which is also the `x5t` of the key's certificate.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs with RS256. The header must name this algorithm.
    pub(crate) fn sign(&self, header: &Map<String, Value>, claims: &Map<String, Value>) -> Option<Secret> {
        self.sign_input(jws::signing_input(header, claims))
    }

    /// Signs the encoded header and payload with RS256.
    pub(crate) fn sign_input(&self, input: String) -> Option<Secret> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature).ok()?;
        Some(jws::assemble(input, &signature))
    }

    /// Returns the published form of the key. This form has no `alg`, as in the real service.
    fn jwk(&self, issuer: Option<&str>) -> Value {
        // The key is RSA, so it has a modulus and an exponent.
        let (modulus, exponent) = self.public.rsa_components().unwrap_or_default();
        let mut jwk = json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "x5t": self.kid,
            "n": URL_SAFE_NO_PAD.encode(modulus),
            "e": URL_SAFE_NO_PAD.encode(exponent),
            "x5c": [STANDARD.encode(&self.certificate)],
        });
        if let Some(issuer) = issuer {
            jwk["issuer"] = json!(issuer);
        }
        jwk
    }
}

/// The published keys, the signing key first.
pub(crate) struct SigningKeys(RwLock<Vec<Arc<TokenKey>>>);

impl SigningKeys {
    pub(crate) fn new(first: Arc<TokenKey>) -> Self {
        Self(RwLock::new(vec![first]))
    }

    pub(crate) fn current(&self) -> Option<Arc<TokenKey>> {
        self.live().first().cloned()
    }

    pub(crate) fn by_kid(&self, kid: &str) -> Option<Arc<TokenKey>> {
        self.live().into_iter().find(|key| key.kid == kid)
    }

    /// Makes `key` the signing key. The previous key stays published; older keys are removed.
    pub(crate) fn rotate(&self, key: TokenKey) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(0, Arc::new(key));
        keys.truncate(LIVE_KEYS);
    }

    /// Returns the JSON Web Key Set (RFC 7517, section 5).
    pub(crate) fn jwks(&self, issuer: Option<&str>) -> Value {
        json!({ "keys": self.live().iter().map(|key| key.jwk(issuer)).collect::<Vec<_>>() })
    }

    pub(crate) fn live(&self) -> Vec<Arc<TokenKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
