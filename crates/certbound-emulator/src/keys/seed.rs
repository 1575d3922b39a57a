//! The source of keys: a random generator, or a seed. With a seed, a test gets the same keys each time.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rsa::pkcs8::EncodePrivateKey as _;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::error::EmulatorError;

/// A source of keys.
pub(crate) enum KeySource {
    /// New keys each time.
    Chance,
    /// The same keys for the same seed, in the same order. Anyone who knows the seed can compute the keys.
    Seed(Box<ChaCha20Rng>),
}

impl KeySource {
    pub(crate) fn of_seed(seed: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, seed.as_bytes()).as_ref());
        Self::Seed(Box::new(ChaCha20Rng::from_seed(bytes)))
    }

    /// Generates an RSA key of 2048 bits.
    pub(crate) fn rsa(&mut self) -> Result<KeyPair, EmulatorError> {
        let Self::Seed(random) = self else { return Ok(KeyPair::generate_for(&PKCS_RSA_SHA256)?) };
        let key = rsa::PrivateKey::new(&mut **random, 2048).map_err(EmulatorError::key_material)?;
        let der = key.to_pkcs8_der().map_err(EmulatorError::key_material)?;
        let der = PrivatePkcs8KeyDer::from(der.as_bytes());
        Ok(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256)?)
    }

    /// Generates an elliptic-curve key on P-256.
    pub(crate) fn p256(&mut self) -> Result<KeyPair, EmulatorError> {
        let Self::Seed(random) = self else { return Ok(KeyPair::generate()?) };
        // A number that is zero or not below the order of the curve is not a private key. Such a number is very
        // unlikely, so two attempts are enough.
        let mut number = [0; 32];
        let mut key = Err(EmulatorError::key_material("the seed has no number that is a private key"));
        for _ in 0..2 {
            random.fill_bytes(&mut number);
            key = PrivateKey::from_private_key(&ECDH_P256, &number).map_err(EmulatorError::key_material);
            if key.is_ok() {
                break;
            }
        }
        let der: EcPrivateKeyRfc5915Der<'_> = key?.as_der().map_err(EmulatorError::key_material)?;
        let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref())
            .map_err(EmulatorError::key_material)?;
        let der = key.to_pkcs8v1().map_err(EmulatorError::key_material)?;
        let der = PrivatePkcs8KeyDer::from(der.as_ref());
        Ok(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)?)
    }

    /// Generates a key for an authority or a host. A random key is on P-256. A key from a seed is RSA, so that a seed
    /// gives the same keys as in earlier versions.
    pub(crate) fn any(&mut self) -> Result<KeyPair, EmulatorError> {
        match self {
            Self::Chance => Ok(KeyPair::generate()?),
            Self::Seed(_) => self.rsa(),
        }
    }
}
