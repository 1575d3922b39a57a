//! RSA-2048 keys made in memory, and one of them kept in a file.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{KeyError, MachineKey, StateDirectory};
use crate::transport::provider;

const FILE: &str = "software-key.der";
/// How often, and how many times, the file is asked for while another process makes the key: for ten seconds.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 500;

/// A new key, and its private half.
pub(super) fn generate() -> Result<(MachineKey, Zeroizing<Vec<u8>>), KeyError> {
    let failed = || KeyError::new("an RSA key could not be made");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| failed())?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| failed())?;
    let der = Zeroizing::new(der.as_ref().to_vec());
    Ok((load(&der)?, der))
}

fn load(der: &[u8]) -> Result<MachineKey, KeyError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.to_vec()));
    let key = provider().key_provider.load_private_key(key);
    MachineKey::new(key.map_err(|_| KeyError::new("it is not a private key in PKCS#8"))?)
}

/// The folder's key, made if there is none. It waits, so it must not be called on an async thread.
pub(super) fn kept(state: &StateDirectory) -> Result<MachineKey, KeyError> {
    let unusable = |error: crate::state::StateError| KeyError::new(error.to_string());
    for _ in 0..LOOKS {
        state.check().map_err(unusable)?;
        let Some(lock) = state.try_lock(FILE).map_err(unusable)? else {
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
    let path = state.path().join(FILE);
    Err(KeyError::new(format!("another process holds the lock of {} and makes no key", path.display())))
}
