//! Certificates and keys in PKCS#11 tokens and in the TPM, and the PIN from the environment.

use std::path::Path;

use certbound::managed_identity::ManagedIdentityBuilder;
use certbound::{BindingCertificate, Secret};
use certbound_pkcs11::{Pkcs11Uri, TokenCertificate, TokenKeys, TokenOptions};

use crate::failure::Failure;
use crate::flags::MachineKeysFlag;
use crate::input;
use crate::usage::Usage;
use crate::{token_uri, tpm};

/// The default variable of the PIN.
const PIN: &str = "CERTBOUND_PIN";
/// The largest file with a chain, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The provider of a machine's key.
pub(crate) enum MachineKeys {
    Software,
    Token(Box<Pkcs11Uri>),
    /// The name of the TPM or of a key in it.
    Tpm(String),
}

impl MachineKeys {
    /// Returns the provider of --machine-keys.
    pub(super) fn of(flags: &MachineKeysFlag) -> Result<Self, Usage> {
        flags.machine_keys.as_deref().map_or(Ok(Self::Software), Self::parse)
    }

    /// Parses the value of --machine-keys.
    pub(crate) fn parse(text: &str) -> Result<Self, Usage> {
        match text {
            "software" => Ok(Self::Software),
            name if token_uri::is_tpm(name) => Ok(Self::Tpm(name.to_owned())),
            uri if Pkcs11Uri::is_uri(uri) => token_uri::parse(uri).map(|uri| Self::Token(Box::new(uri))),
            _ => Err(Usage::MachineKeys),
        }
    }
}

/// Returns the settings of a token, with the PIN of `named` or of the default variable.
pub(crate) fn options(named: Option<&str>) -> Result<TokenOptions, Usage> {
    let pin = match named {
        Some(_) => super::certificate::password(named)?,
        None => std::env::var(PIN).ok().map(Secret::new),
    };
    // An empty variable counts as unset, because the token would count an empty PIN as a failed login.
    let pin = pin.filter(|pin| !pin.expose().is_empty());
    let options = TokenOptions::default();
    Ok(match pin {
        Some(pin) => options.pin(pin),
        None => options,
    })
}

/// Reads the certificate of a URI, and opens its key. Returns the certificate with its name in results.
pub(super) fn certificate(
    uri: &str,
    password_env: Option<&str>,
) -> Result<(BindingCertificate, String), Failure> {
    if token_uri::is_tpm(uri) {
        return Err(Usage::TpmHasNoCertificate.into());
    }
    let uri = token_uri::parse(uri)?;
    let shown = uri.to_string();
    let opened = TokenCertificate::open(uri, options(password_env)?)?;
    Ok((opened.current(), shown))
}

/// Reads the certificate in a file, and opens its key in a token or in the TPM.
pub(super) fn certificate_of_file(
    path: &Path,
    key: &str,
    password_env: Option<&str>,
) -> Result<(BindingCertificate, String), Failure> {
    let chain = input::file(path, MAX_BYTES)?;
    if token_uri::is_tpm(key) {
        return Ok((tpm::certificate(&chain, key)?, format!("file:{}", path.display())));
    }
    let opened = TokenCertificate::open_with_chain(token_uri::parse(key)?, &chain, options(password_env)?)?;
    Ok((opened.current(), format!("file:{}", path.display())))
}

/// Adds the keys of a provider to the builder of an identity. `software` adds the keys of [`MachineKeys::Software`].
pub(super) fn with_machine_keys(
    builder: ManagedIdentityBuilder,
    keys: MachineKeys,
    software: impl FnOnce(ManagedIdentityBuilder) -> ManagedIdentityBuilder,
) -> Result<ManagedIdentityBuilder, Failure> {
    Ok(match keys {
        MachineKeys::Token(uri) => builder.with_keys(TokenKeys::open(*uri, options(None)?)?),
        MachineKeys::Tpm(name) => tpm::with_machine_keys(builder, &name)?,
        MachineKeys::Software => software(builder),
    })
}
