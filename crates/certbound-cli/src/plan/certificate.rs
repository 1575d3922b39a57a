//! The certificate's file, its key's file, and the password from the environment.

use std::path::Path;

use certbound::clock::{Clock as _, SystemClock};
use certbound::{BindingCertificate, Secret};

use super::hardware;
use crate::config::is_variable_name;
use crate::failure::{Failure, USAGE};
use crate::flags::CertificateFlags;
use crate::token_uri;
use crate::usage::Usage;

/// The variable in which `emulator run` passes the file of the built-in application's certificate.
const EMULATOR: &str = "CERTBOUND_EMULATOR_CERTIFICATE";
/// The default variable of the password, which the Azure SDKs define.
const PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";

/// Returns the certificate of `--certificate`, if it is given, and its source.
pub(super) fn binding(flags: &CertificateFlags) -> Result<Option<(BindingCertificate, String)>, Failure> {
    let Some(path) = &flags.certificate else { return Ok(None) };
    load(path, flags.certificate_key.as_deref(), flags.certificate_password_env.as_deref()).map(Some)
}

/// Reads a certificate with its key, in files or in a token. The second value is the certificate's name in results.
pub(crate) fn load(
    path: &Path,
    key: Option<&Path>,
    password_env: Option<&str>,
) -> Result<(BindingCertificate, String), Failure> {
    match (token_uri::text(path), key.and_then(token_uri::text)) {
        (Some(uri), _) if key.is_some() && !token_uri::is_tpm(uri) => return Err(Usage::TwoKeys.into()),
        (Some(uri), _) => return hardware::certificate(uri, password_env),
        (None, Some(uri)) => return hardware::certificate_of_file(path, uri, password_env),
        (None, None) => {}
    }
    let password = password(password_env)?;
    let certificate = match (key, &password) {
        (Some(key), Some(password)) => BindingCertificate::from_encrypted_pem_files(path, key, password),
        (Some(key), None) => BindingCertificate::from_pem_files(path, key),
        (None, _) => BindingCertificate::from_pem_or_pfx_file(path, password.as_ref()),
    };
    let certificate =
        certificate.map_err(|error| with_variable(with_emulator(error.into()), password_env))?;
    Ok((certificate, format!("file:{}", path.display())))
}

/// Adds the emulator's certificate to the advice for an unreadable file, if the command runs in `emulator run`.
fn with_emulator(failure: Failure) -> Failure {
    if failure.code != "certificate_file_unreadable" || std::env::var_os(EMULATOR).is_none() {
        return failure;
    }
    let fix = format!("{}; the certificate of the emulator is the file \"${EMULATOR}\"", failure.fix);
    Failure { fix, ..failure }
}

/// Names the variable of --certificate-password-env in the advice, instead of the default variable.
fn with_variable(failure: Failure, password_env: Option<&str>) -> Failure {
    let Some(name) = password_env else { return failure };
    Failure { fix: failure.fix.replace(PASSWORD, &shown_name(name)), ..failure }
}

/// Reads a certificate with its key, and checks its validity period, as commands do.
pub(crate) fn check(path: &Path, key: Option<&Path>, password_env: Option<&str>) -> Result<(), Failure> {
    let (certificate, _) = load(path, key, password_env)?;
    let now = SystemClock::new().now();
    certificate.valid_at(now).map_err(|error| {
        Failure::new(USAGE, error.code(), "the certificate cannot be used", &error, error.fix())
    })
}

pub(super) fn password(named: Option<&str>) -> Result<Option<Secret>, Usage> {
    let value = std::env::var(named.unwrap_or(PASSWORD)).ok();
    match (named, value) {
        (Some(name), None) => Err(Usage::NoPassword(shown_name(name))),
        (_, value) => Ok(value.map(Secret::new)),
    }
}

/// Returns the name of a variable for an error. A text that is not a name may be the secret itself.
pub(super) fn shown_name(name: &str) -> String {
    match is_variable_name(name) {
        true => name.chars().take(64).collect(),
        false => format!("<not the name of a variable, {} bytes>", name.len()),
    }
}
