//! The source of keys: a random generator, or a seed. With a seed, a test gets the same keys each time.

use aws_lc_rs::digest::{SHA256, digest};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use rcgen::{KeyPair, PKCS_RSA_SHA256};
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

    /// Generates a key for an authority or a host. A random key is on P-256. A key from a seed is RSA, because this
    /// module can make only RSA keys from a seed.
    pub(crate) fn any(&mut self) -> Result<KeyPair, EmulatorError> {
        match self {
            Self::Chance => Ok(KeyPair::generate()?),
            Self::Seed(_) => self.rsa(),
        }
    }
}
