//! Certificates and keys in PKCS#11 tokens, and the PIN from the environment.

use std::path::Path;

use certbound::{BindingCertificate, Secret};
use certbound_pkcs11::{Pkcs11Uri, TokenCertificate, TokenKeys, TokenOptions};

use crate::failure::Failure;
use crate::input;
use crate::token_uri;
use crate::usage::Usage;

/// The default variable of the PIN.
const PIN: &str = "CERTBOUND_PIN";
/// The largest file with a chain, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The provider of a machine's key.
pub(crate) enum MachineKeys {
    Software,
    Token(Box<Pkcs11Uri>),
}

impl MachineKeys {
    /// Parses the value of --machine-keys.
    pub(crate) fn parse(text: &str) -> Result<Self, Usage> {
        match text {
            "software" => Ok(Self::Software),
            "tpm" => Err(Usage::MachineKeysOfTpm),
            uri if Pkcs11Uri::is_uri(uri) => token_uri::parse(uri).map(|uri| Self::Token(Box::new(uri))),
            _ => Err(Usage::MachineKeys),
        }
    }
}

/// Returns the settings of a token, with the PIN of `named` or of the default variable.
pub(crate) fn options(named: Option<&str>) -> Result<TokenOptions, Usage> {
    let pin = match named {
        Some(_) => super::certificate::password(named)?,
        // An empty variable is unset. An empty PIN would cost an attempt.
        None => std::env::var(PIN).ok().filter(|pin| !pin.is_empty()).map(Secret::new),
    };
    let options = TokenOptions::default();
    Ok(match pin {
        Some(pin) => options.pin(pin),
        None => options,
    })
}

/// Reads the certificate of a URI, and opens its key. Returns it with its name in results.
pub(super) fn certificate(
    uri: &str,
    password_env: Option<&str>,
) -> Result<(BindingCertificate, String), Failure> {
    let uri = token_uri::parse(uri)?;
    let shown = uri.to_string();
    let opened = TokenCertificate::open(uri, options(password_env)?)?;
    Ok((opened.current(), shown))
}

/// Reads the certificate in a file, and opens its key in a token.
pub(super) fn certificate_of_file(
    path: &Path,
    key: &str,
    password_env: Option<&str>,
) -> Result<(BindingCertificate, String), Failure> {
    let chain = input::file(path, MAX_BYTES)?;
    let opened = TokenCertificate::open_with_chain(token_uri::parse(key)?, &chain, options(password_env)?)?;
    Ok((opened.current(), format!("file:{}", path.display())))
}

/// Opens the token of a machine's key.
pub(super) fn machine_keys(uri: Pkcs11Uri) -> Result<TokenKeys, Failure> {
    Ok(TokenKeys::open(uri, options(None)?)?)
}
