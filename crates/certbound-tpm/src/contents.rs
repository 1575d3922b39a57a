//! The keys of a TPM, for tools.

use std::time::Duration;

use crate::error::TpmError;
use crate::handle::KeyHandle;
use crate::object::{self, FoundKey, KeyKind};
use crate::tpm::Tpm;
use certbound::certificate::KeySpec;

/// The time limit for the generation of a key. Some TPMs need a minute for an RSA key.
const GENERATION: Duration = Duration::from_secs(300);

/// The largest number of handles that one call lists. A TPM has room for far fewer objects.
const LISTED: u32 = 254;

/// An object at a persistent handle of the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyFacts {
    /// The handle.
    pub handle: KeyHandle,
    /// The kind, for example `RSA 2048` or `EC P-256`.
    pub kind: String,
    /// The public key as DER of a `SubjectPublicKeyInfo`, if it is an RSA key or an EC key on a known curve.
    pub public_key: Option<Vec<u8>>,
    /// The reason why certbound cannot sign with the key. The field is `None` if certbound can sign with the key.
    pub fault: Option<&'static str>,
    /// The property by which the private key can exist outside of the TPM. The field is `None` if the key has no
    /// property of this kind.
    pub leaves: Option<&'static str>,
}

impl Tpm {
    /// Returns the objects at the persistent handles of the owner.
    ///
    /// # Errors
    /// [`TpmError`], if the TPM cannot be read.
    pub fn keys(&self) -> Result<Vec<KeyFacts>, TpmError> {
        self.run(|context| {
            let first = KeyHandle::new(0x8100_0000)?;
            let handles = object::handles_from(context, first, LISTED)?;
            let mut keys = Vec::new();
            for handle in handles {
                match object::find(context, handle) {
                    Ok(found) => keys.push(facts(handle, &found)),
                    // Another program has removed the object in the meantime.
                    Err(TpmError::NoKey { .. }) => {}
                    Err(error) if error.is_refusal() => keys.push(unreadable(handle)),
                    Err(error) => return Err(error),
                }
            }
            Ok(keys)
        })
    }

    /// Generates a key at a free handle. The key never leaves the TPM, and has no authorization.
    ///
    /// # Errors
    /// [`TpmError`], if there is an object at the handle, or if the TPM cannot generate the key.
    pub fn generate(&self, handle: KeyHandle, spec: KeySpec) -> Result<KeyFacts, TpmError> {
        // The connection can fail after the TPM has stored the key. The second run then finds the key by its name.
        let mut made = None;
        self.run_long(GENERATION, move |context| {
            if object::exists(context, handle)? {
                let found = object::find(context, handle)?;
                if made.as_ref() == Some(&found.name) {
                    return Ok(facts(handle, &found));
                }
                let reason = "there is an object at this handle already".to_owned();
                return Err(TpmError::KeyUnusable { handle, reason });
            }
            Ok(facts(handle, &object::generate(context, handle, spec, &mut made)?))
        })
    }
}

fn unreadable(handle: KeyHandle) -> KeyFacts {
    let fault = Some("certbound does not know the form of its public area");
    KeyFacts { handle, kind: "other".to_owned(), public_key: None, fault, leaves: None }
}

fn facts(handle: KeyHandle, found: &FoundKey) -> KeyFacts {
    let kind = match &found.kind {
        Some(KeyKind::Rsa { modulus, .. }) => format!("RSA {}", modulus.len() * 8),
        Some(KeyKind::Ec { curve, .. }) => format!("EC {}", curve),
        None => "other".to_owned(),
    };
    KeyFacts { handle, kind, public_key: found.public_key(), fault: found.fault(), leaves: found.leaves() }
}
