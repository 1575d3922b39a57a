//! RSA-2048 keys in memory, and the file that can store one of them.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use zeroize::Zeroizing;

use super::{MachineKey, MachineSigner, StateDirectory};
use crate::error::KeyError;

const FILE: &str = "software-key.der";
/// How often, and how many times, the lock is tried while another process generates the key: for ten seconds.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 500;

/// A key in memory.
struct InMemory {
    pair: KeyPair,
    public: Vec<u8>,
}

impl InMemory {
    fn sign(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(encoding, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| signature).map_err(|_| KeyError::new("the key did not sign"))
    }
}

impl MachineSigner for InMemory {
    fn public_key(&self) -> Vec<u8> {
        self.public.clone()
    }

    fn sign_pss_sha256(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sign(&RSA_PSS_SHA256, message)
    }

    fn signs_pkcs1(&self) -> bool {
        true
    }

    fn sign_pkcs1_sha256(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sign(&RSA_PKCS1_SHA256, message)
    }
}

/// Generates a key. The second value is its private key in PKCS#8.
pub(super) fn generate() -> Result<(MachineKey, Zeroizing<Vec<u8>>), KeyError> {
    let failed = || KeyError::new("an RSA key could not be made");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| failed())?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| failed())?;
    let der = Zeroizing::new(der.as_ref().to_vec());
    Ok((load(pair)?, der))
}

fn load(pair: KeyPair) -> Result<MachineKey, KeyError> {
    let public: Result<PublicKeyX509Der<'_>, _> = pair.public_key().as_der();
    let public = public.map_err(|_| KeyError::new("the key does not tell its public half"))?;
    let public = public.as_ref().to_vec();
    MachineKey::new(InMemory { pair, public })
}

/// Returns the key of the folder, and generates it if there is none. It blocks, so do not call it on an async thread.
pub(super) fn kept(state: &StateDirectory) -> Result<MachineKey, KeyError> {
    for _ in 0..LOOKS {
        state.check().map_err(KeyError::new)?;
        let Some(lock) = state.try_lock(FILE).map_err(KeyError::new)? else {
            std::thread::sleep(LOOK);
            continue;
        };
        if let Some(der) = state.read(FILE) {
            let pair = KeyPair::from_pkcs8(&der).map_err(|_| KeyError::new("it is no RSA key in PKCS#8"));
            match pair.and_then(load) {
                Ok(key) => return Ok(key),
                Err(error) => state.ignored(FILE, &error),
            }
        }
        let (key, der) = generate()?;
        state.write(FILE, &der, &lock);
        return Ok(key);
    }
    let path = state.path().join(FILE);
    Err(KeyError::new(format!("another process holds the lock of {} and makes no key", path.display())))
}
