//! RSA-2048 keys in memory, and the file that can store one of them.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;
use zeroize::Zeroizing;

use super::{MachineKey, StateDirectory};
use crate::certificate::{SignatureScheme, Signer};
use crate::error::KeyError;

const FILE: &str = "software-key.der";
/// The interval and the number of attempts to take the lock while another process generates the key. All attempts take
/// ten seconds.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 500;

/// A key in memory.
struct InMemory(Arc<dyn SigningKey>);

impl Signer for InMemory {
    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::RsaPssSha256, SignatureScheme::RsaPkcs1Sha256]
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signer = self.0.choose_scheme(&[scheme.in_tls()]);
        let signer = signer.ok_or_else(|| KeyError::new("the key does not support the signature scheme"))?;
        signer.sign(message).map_err(KeyError::new)
    }
}

/// Returns whether this module created the key.
pub(super) fn is_in_memory(key: &MachineKey) -> bool {
    key.signer::<InMemory>().is_some()
}

/// Generates a key. The second value is its private key in PKCS#8.
pub(super) fn generate() -> Result<(MachineKey, Zeroizing<Vec<u8>>), KeyError> {
    let failed = |_| KeyError::new("an RSA key could not be generated");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    let der = Zeroizing::new(der.as_ref().to_vec());
    Ok((load(&der)?, der))
}

fn load(der: &[u8]) -> Result<MachineKey, KeyError> {
    let refused = || KeyError::new("it is not an RSA key in PKCS#8");
    // `load_private_key` of the crypto provider would need a second copy of the key.
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
    let key = any_supported_type(&der).map_err(|_| refused())?;
    let public = key.public_key().ok_or_else(refused)?.to_vec();
    MachineKey::new(&public, InMemory(key))
}

/// Returns the key of the folder, and generates the key if the folder has no key. The function blocks, so it must not
/// be called on an async thread.
pub(super) fn load_or_generate(state: &StateDirectory) -> Result<MachineKey, KeyError> {
    for _ in 0..LOOKS {
        state.check().map_err(KeyError::new)?;
        let Some(lock) = state.try_lock(FILE).map_err(KeyError::new)? else {
            std::thread::sleep(LOOK);
            continue;
        };
        if let Some(der) = state.read(FILE) {
            match load(&der) {
                Ok(key) => return Ok(key),
                Err(error) => state.ignored(FILE, &error),
            }
        }
        let (key, der) = generate()?;
        state.write(FILE, &der, &lock);
        return Ok(key);
    }
    let path = state.path().join(FILE).display().to_string();
    Err(KeyError::new(format!("another process holds the lock of {path} and has generated no key in 10 s")))
}
