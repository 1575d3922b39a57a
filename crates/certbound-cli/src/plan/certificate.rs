//! The certificate's file, its key's file, and the password from the environment.

use std::path::Path;

use certbound::{BindingCertificate, Secret};

use crate::failure::Failure;
use crate::flags::CertificateFlags;
use crate::usage::Usage;

/// The default variable of the password, which the Azure SDKs define.
const PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";

/// Returns the certificate of `--certificate`, if it is given, and its source.
pub(super) fn binding(flags: &CertificateFlags) -> Result<Option<(BindingCertificate, String)>, Failure> {
    let Some(path) = &flags.certificate else { return Ok(None) };
    load(path, flags.certificate_key.as_deref(), flags.certificate_password_env.as_deref()).map(Some)
}

pub(super) fn load(
    path: &Path,
    key: Option<&Path>,
    password_env: Option<&str>,
) -> Result<(BindingCertificate, String), Failure> {
    let password = password(password_env)?;
    let certificate = match (key, &password) {
        (Some(key), Some(password)) => BindingCertificate::from_encrypted_pem_files(path, key, password)?,
        (Some(key), None) => BindingCertificate::from_pem_files(path, key)?,
        (None, _) => BindingCertificate::from_pem_or_pfx_file(path, password.as_ref())?,
    };
    Ok((certificate, format!("file:{}", path.display())))
}

fn password(named: Option<&str>) -> Result<Option<Secret>, Usage> {
    let value = std::env::var(named.unwrap_or(PASSWORD)).ok();
    match (named, value) {
        (Some(name), None) => Err(Usage::NoPassword(name.chars().take(64).collect())),
        (_, value) => Ok(value.map(Secret::new)),
    }
}
