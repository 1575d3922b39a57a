//! Keys in a TPM, named `tpm:HANDLE`. Only a build with the cargo feature `tpm` can use them.

#[cfg(not(feature = "tpm"))]
#[path = "tpm/absent.rs"]
mod keys;
#[cfg(feature = "tpm")]
mod keys;

pub(crate) use self::keys::{certificate, check, check_key, generate, list, request, with_machine_keys};

/// A key in the TPM, as `keys` shows it.
pub(crate) struct KeyRow {
    /// The persistent handle.
    pub(crate) handle: String,
    /// The kind, such as `RSA 2048`.
    pub(crate) kind: String,
    /// The reason why certbound cannot sign with the key.
    pub(crate) fault: Option<&'static str>,
    /// The property by which the private key can exist outside of the TPM.
    pub(crate) leaves: Option<&'static str>,
}
