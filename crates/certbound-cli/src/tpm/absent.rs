//! A build that cannot use a TPM.

use certbound::BindingCertificate;
use certbound::managed_identity::ManagedIdentityBuilder;

use super::KeyRow;
use crate::failure::Failure;
use crate::flags::KeyFlag;
use crate::usage::Usage;

/// Returns the error with the advice to install a build with the feature `tpm`.
pub(crate) fn check(_: &str) -> Result<(), Failure> {
    Err(Usage::NoTpm.into())
}

pub(crate) fn check_key(_: &str) -> Result<(), Failure> {
    Err(Usage::NoTpm.into())
}

pub(crate) fn certificate(_: &[u8], _: &str) -> Result<BindingCertificate, Failure> {
    Err(Usage::NoTpm.into())
}

pub(crate) fn with_machine_keys(
    _: ManagedIdentityBuilder,
    _: &str,
) -> Result<ManagedIdentityBuilder, Failure> {
    Err(Usage::NoTpm.into())
}

pub(crate) fn list(_: &str) -> Result<Vec<KeyRow>, Failure> {
    Err(Usage::NoTpm.into())
}

pub(crate) fn generate(_: &str, _: KeyFlag) -> Result<KeyRow, Failure> {
    Err(Usage::NoTpm.into())
}

pub(crate) fn request(_: &str, _: &str) -> Result<String, Failure> {
    Err(Usage::NoTpm.into())
}
