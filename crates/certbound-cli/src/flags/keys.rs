//! Flags of `keys`.

use certbound::certificate::KeySpec;
use clap::{Args, Subcommand, ValueEnum};

use super::examples;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the tokens of a module, or the keys in a token or in the TPM.
    ///
    /// `tpm` lists the keys in the TPM. A URI without `token`, `serial`, `model`, `manufacturer` and `slot-id` lists
    /// the tokens, and needs no PIN.
    #[command(after_long_help = examples::KEYS_LIST)]
    List(KeysListFlags),
    /// Generate a key in a token or in the TPM.
    ///
    /// The key is sensitive and not extractable: it never leaves the token. The URI gives its label (`object`), and can
    /// give its `id`. A key with this name must not exist. `tpm:HANDLE` gives the persistent handle of a key in the
    /// TPM.
    #[command(after_long_help = examples::KEYS_GENERATE)]
    Generate(KeysGenerateFlags),
    /// Print a certificate request for a key in a token or in the TPM.
    ///
    /// The request is PKCS#10 in PEM. The key signs it.
    #[command(after_long_help = examples::KEYS_CSR)]
    Csr(KeysCsrFlags),
}

/// The token and its PIN.
#[derive(Args, Debug)]
pub(crate) struct TokenFlag {
    /// A PKCS#11 URI, or `tpm:HANDLE`.
    ///
    /// The URI (RFC 7512) names a module, a token or a key. An example is
    /// `pkcs11:token=app;object=binding?module-path=/usr/lib/softhsm/libsofthsm2.so`. The PIN is in the file of
    /// `pin-source`, or in an environment variable; it cannot be in the URI, because other users can see arguments.
    #[arg(value_name = "URI")]
    pub(crate) uri: String,
    /// The variable with the PIN. Default: CERTBOUND_PIN.
    #[arg(long, value_name = "NAME", env = "CERTBOUND_PIN_ENV")]
    pub(crate) pin_env: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct KeysListFlags {
    #[command(flatten)]
    pub(crate) token: TokenFlag,
}

#[derive(Args, Debug)]
pub(crate) struct KeysGenerateFlags {
    #[command(flatten)]
    pub(crate) token: TokenFlag,
    /// The kind of the key.
    ///
    /// A managed identity needs RSA, and a Bearer token by the direct flow needs RSA too.
    #[arg(long = "type", value_enum, value_name = "TYPE", env = "CERTBOUND_TYPE", default_value_t = KeyFlag::Rsa2048)]
    pub(crate) kind: KeyFlag,
}

#[derive(Args, Debug)]
pub(crate) struct KeysCsrFlags {
    #[command(flatten)]
    pub(crate) token: TokenFlag,
    /// The subject of the request, such as CN=app.
    ///
    /// It has the form of RFC 4514: `CN=app.contoso.com,O=Contoso`.
    #[arg(long, value_name = "NAME", env = "CERTBOUND_SUBJECT")]
    pub(crate) subject: String,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyFlag {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    P256,
    P384,
}

impl From<KeyFlag> for KeySpec {
    fn from(flag: KeyFlag) -> Self {
        match flag {
            KeyFlag::Rsa2048 => Self::Rsa2048,
            KeyFlag::Rsa3072 => Self::Rsa3072,
            KeyFlag::Rsa4096 => Self::Rsa4096,
            KeyFlag::P256 => Self::P256,
            KeyFlag::P384 => Self::P384,
        }
    }
}
