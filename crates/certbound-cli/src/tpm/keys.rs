//! Keys in a TPM for the commands, in a build with the feature `tpm`.

use certbound::BindingCertificate;
use certbound::managed_identity::ManagedIdentityBuilder;
use certbound_tpm::{KeyFacts, KeyHandle, Tpm, TpmError, TpmKeys, TpmOptions};

use super::KeyRow;
use crate::failure::Failure;
use crate::flags::KeyFlag;
use crate::usage::Usage;

/// The variable of tpm2-tools with the address of the TPM.
const ADDRESS: &str = "TPM2TOOLS_TCTI";

/// Checks the name of a provider of machine keys. The TPM is not opened.
pub(crate) fn check(name: &str) -> Result<(), Failure> {
    Ok(handle(name).map(drop)?)
}

/// Checks the name of a key, which must have a handle. The TPM is not opened.
pub(crate) fn check_key(name: &str) -> Result<(), Failure> {
    required(name).map(drop)
}

/// Opens the key of a certificate. `chain` is PEM.
pub(crate) fn certificate(chain: &[u8], name: &str) -> Result<BindingCertificate, Failure> {
    let handle = required(name)?;
    Ok(BindingCertificate::from_signer(chain, open()?.key(handle)?)?)
}

/// Sets the TPM as the key provider of a managed identity.
pub(crate) fn with_machine_keys(
    builder: ManagedIdentityBuilder,
    name: &str,
) -> Result<ManagedIdentityBuilder, Failure> {
    let handle = handle(name)?.unwrap_or(KeyHandle::MACHINE);
    Ok(builder.with_keys(TpmKeys::new(open()?, handle)))
}

/// Returns the keys of the TPM. If the name contains a handle, returns only the key at this handle.
pub(crate) fn list(name: &str) -> Result<Vec<KeyRow>, Failure> {
    let Some(handle) = handle(name)? else { return Ok(open()?.keys()?.into_iter().map(row).collect()) };
    let keys = open()?.keys()?;
    let key = keys.into_iter().find(|key| key.handle == handle).ok_or(TpmError::NoKey { handle })?;
    Ok(vec![row(key)])
}

/// Generates a key at the handle in the name.
pub(crate) fn generate(name: &str, kind: KeyFlag) -> Result<KeyRow, Failure> {
    let handle = required(name)?;
    Ok(row(open()?.generate(handle, kind.into())?))
}

/// Returns a certificate request in PEM for the key at the handle in the name.
pub(crate) fn request(name: &str, subject: &str) -> Result<String, Failure> {
    Ok(open()?.key(required(name)?)?.certificate_request(subject)?)
}

fn open() -> Result<Tpm, TpmError> {
    // An empty variable counts as unset, as in tpm2-tools.
    let address = std::env::var_os(ADDRESS).filter(|address| !address.is_empty());
    // An address that is not UTF-8 is an error: the default can be another TPM.
    let address = address.map(|address| address.to_string_lossy().into_owned());
    Tpm::open(address.as_deref().unwrap_or(Tpm::DEFAULT_ADDRESS), TpmOptions::default())
}

/// Returns the handle in `tpm:HANDLE`, and `None` for `tpm` alone.
fn handle(name: &str) -> Result<Option<KeyHandle>, TpmError> {
    match name.strip_prefix("tpm:") {
        None => Ok(None),
        Some(handle) => Ok(Some(handle.parse::<KeyHandle>()?)),
    }
}

fn required(name: &str) -> Result<KeyHandle, Failure> {
    Ok(handle(name)?.ok_or(Usage::NoTpmHandle)?)
}

fn row(key: KeyFacts) -> KeyRow {
    let KeyFacts { handle, kind, fault, leaves, .. } = key;
    KeyRow { handle: handle.to_string(), kind, fault, leaves }
}
