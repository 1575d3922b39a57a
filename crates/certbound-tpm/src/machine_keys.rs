//! The key of a managed identity, generated and kept in a TPM.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use certbound::certificate::{KeySpec, SignatureScheme};
use certbound::error::KeyError;
use certbound::managed_identity::{KeyProvider, KeyStrength, MachineKey};
use tss_esapi::Context;

use crate::error::TpmError;
use crate::handle::KeyHandle;
use crate::key::TpmKey;
use crate::object::{self, FoundKey};
use crate::tpm::Tpm;

/// The time limit for finding or generating the key. A client waits for a key provider for one minute.
const GENERATION: Duration = Duration::from_secs(40);

/// The message of the test signature of the key.
const PROBE: &[u8] = b"certbound: probe of the key of a machine";

/// The key provider of a managed identity whose key is in a TPM.
///
/// The key is at a persistent handle. Without a key at the handle, the provider generates an RSA-2048 key, which never
/// leaves the TPM. It refuses a key that could leave the TPM. If the TPM cannot be used, the provider returns an error:
/// it never uses a software key instead.
///
/// The strength is [`KeyStrength::Hardware`] if [`Tpm::is_hardware`] returns true, and otherwise
/// [`KeyStrength::Software`].
pub struct TpmKeys {
    inner: Arc<Inner>,
}

struct Inner {
    tpm: Tpm,
    handle: KeyHandle,
    /// The key that was returned last. Only threads for blocking work take the lock, and they hold it while they wait
    /// for the TPM.
    made: Mutex<Option<(TpmKey, MachineKey)>>,
}

impl TpmKeys {
    /// Returns a provider whose key is at `handle`; [`KeyHandle::MACHINE`] is the usual handle. The provider finds or
    /// generates the key at the first use.
    pub fn new(tpm: Tpm, handle: KeyHandle) -> Self {
        Self { inner: Arc::new(Inner { tpm, handle, made: Mutex::default() }) }
    }
}

impl KeyProvider for TpmKeys {
    fn strength(&self) -> KeyStrength {
        if self.inner.tpm.is_hardware() { KeyStrength::Hardware } else { KeyStrength::Software }
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        let inner = Arc::clone(&self.inner);
        let key = tokio::task::spawn_blocking(move || Ok(inner.key()?)).await;
        key.unwrap_or_else(|failed| match failed.is_panic() {
            true => Err(KeyError::new("the key provider panicked; the message of the panic is on stderr")),
            false => Err(KeyError::new("the runtime is shutting down").transient(true)),
        })
    }

    /// Returns true: the key stays in the TPM.
    fn is_persistent(&self) -> bool {
        true
    }
}

impl Inner {
    /// Finds or generates the key, and proves by one signature that it works.
    fn key(&self) -> Result<MachineKey, TpmError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, machine) = self.find().inspect_err(|_| *made = None)?;
        // The identity opens new connections for a new `MachineKey`, so the same key is returned as the same
        // `MachineKey`.
        if let Some((known, machine)) = &*made
            && !known.is_gone()
            && known.is_same_key(&key)
        {
            return Ok(machine.clone());
        }
        *made = Some((key, machine.clone()));
        Ok(machine)
    }

    fn find(&self) -> Result<(TpmKey, MachineKey), TpmError> {
        let (tpm, handle) = (self.tpm.clone(), self.handle);
        let found = self.tpm.run_long(GENERATION, move |context| {
            tpm.check_vendor(context)?;
            find_or_generate(context, handle)
        })?;
        let key = TpmKey::new(&self.tpm, self.handle, &found)?;
        if let Some(reason) = key.leaves() {
            return Err(self.unusable(format!("it can be copied out of the TPM: {reason}")));
        }
        let machine = MachineKey::new(key.public_key(), key.clone());
        let machine = machine.map_err(|error| self.unusable(error.to_string()))?;
        let signature = key.sign_message(SignatureScheme::RsaPssSha256, PROBE)?;
        let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public_key());
        public.verify(PROBE, &signature).map_err(|_| TpmError::PssSalt { handle: self.handle })?;
        Ok((key, machine))
    }

    fn unusable(&self, reason: String) -> TpmError {
        TpmError::KeyUnusable { handle: self.handle, reason }
    }
}

fn find_or_generate(context: &mut Context, handle: KeyHandle) -> Result<FoundKey, TpmError> {
    if object::exists(context, handle)? {
        return object::find(context, handle);
    }
    let generated = object::generate(context, handle, KeySpec::Rsa2048, &mut None);
    match generated {
        Ok(found) => {
            tracing::info!(%handle, "a key of the machine was generated in the TPM");
            Ok(found)
        }
        // Another process may have generated a key at the same time.
        Err(error) => match object::exists(context, handle) {
            Ok(true) => object::find(context, handle),
            _ => Err(error),
        },
    }
}

impl fmt::Debug for TpmKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TpmKeys").field("tpm", &self.inner.tpm).field("handle", &self.inner.handle).finish()
    }
}
