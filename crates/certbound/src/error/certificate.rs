//! Why a binding certificate could not be loaded.

use certbound_core::certificate::CertificateError;

/// What was wrong with a certificate, its key or its file. No variant holds any of the key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingCertificateError {
    /// The file could not be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A PEM section is broken.
    #[error("the PEM text is damaged: {reason}")]
    BrokenPem {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No certificate in the text.
    #[error("there is no certificate in it (no `BEGIN CERTIFICATE`)")]
    NoCertificate,
    /// No private key in the text.
    #[error("there is no private key in it")]
    NoPrivateKey,
    /// More than one private key.
    #[error("there are {count} private keys in it; exactly one is expected")]
    SeveralPrivateKeys {
        /// How many.
        count: usize,
    },
    /// The key is encrypted, and no password was given.
    #[error("the private key is encrypted, and no password is given")]
    EncryptedKey,
    /// The key is encrypted in OpenSSL's way from before PKCS #8.
    #[error(
        "the private key is encrypted in OpenSSL's traditional way, which is not read (`Proc-Type: 4,ENCRYPTED`)"
    )]
    EncryptedTraditionally,
    /// The key is encrypted by a scheme that is not known here.
    #[error("the private key is encrypted by a scheme that is not read; PBES2 with AES or 3DES is")]
    UnknownEncryption,
    /// The key cannot be parsed, or is of a kind TLS does not take.
    #[error(
        "the private key cannot be used: it is damaged, or not RSA (2048 bits or more) or EC (P-256, P-384, P-521)"
    )]
    KeyUnusable,
    /// The key is not the certificate's.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// An RSA signature is needed and the key is not RSA.
    #[error("an RSA key is needed to sign the client's assertion, and this key is not RSA")]
    NotRsa,
    /// A PFX where PEM is read. Every build says so; the cargo feature `pfx` adds the functions that read one.
    #[error("it is a PFX (PKCS#12), and PEM is read here")]
    PfxInsteadOfPem,
    /// Not a PKCS#12 file.
    #[error("the PFX cannot be read: {reason}")]
    BrokenPfx {
        /// What is wrong with it.
        reason: String,
    },
    /// The password does not open the PFX or the private key.
    #[error("the password is not the one that the key was encrypted with")]
    WrongPassword,
    /// The certificate itself.
    #[error(transparent)]
    Certificate(CertificateError),
}

impl BindingCertificateError {
    /// MSAL's name where it has one, else ours.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "certificate_file_unreadable",
            Self::BrokenPem { .. } => "certificate_pem_invalid",
            Self::NoCertificate => "certificate_missing",
            Self::NoPrivateKey => "cert_without_private_key",
            Self::SeveralPrivateKeys { .. } => "certificate_several_keys",
            Self::EncryptedKey => "certificate_key_encrypted",
            Self::EncryptedTraditionally | Self::UnknownEncryption => "certificate_key_encryption_unknown",
            Self::KeyUnusable => "cryptographic_error",
            Self::KeyMismatch => "certificate_key_mismatch",
            Self::NotRsa => "certificate_not_rsa",
            Self::PfxInsteadOfPem => "certificate_pfx_unexpected",
            Self::BrokenPfx { .. } => "certificate_pfx_invalid",
            Self::WrongPassword => "certificate_password_wrong",
            Self::Certificate(error) => error.code(),
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the path and that this user may read it",
            Self::BrokenPem { .. } => "export the certificate and key again as PEM",
            Self::NoCertificate => "put the leaf certificate, then its issuers, into the file",
            Self::NoPrivateKey => {
                "add the private key to the file, or name its file beside the certificate's"
            }
            Self::SeveralPrivateKeys { .. } => "keep only the key of the first certificate",
            Self::EncryptedKey => {
                "give its password; the command line reads it from AZURE_CLIENT_CERTIFICATE_PASSWORD"
            }
            Self::EncryptedTraditionally | Self::UnknownEncryption => {
                "encrypt it anew: `openssl pkcs8 -topk8 -in key.pem -out new.pem`"
            }
            Self::KeyUnusable => "use an RSA key of 2048 bits or more, or an EC key on P-256, P-384 or P-521",
            Self::KeyMismatch => "pair the certificate with the key it was issued for; the leaf comes first",
            Self::NotRsa => "ask for a bound token, which works with any key, or use an RSA certificate",
            Self::PfxInsteadOfPem => {
                "convert it: `openssl pkcs12 -in app.pfx -out app.pem`; or turn on the cargo feature `pfx` of certbound and read it by one of the functions with `pfx` in their names; the command line reads it as one file, without --certificate-key"
            }
            Self::BrokenPfx { .. } => "export it again with one certificate and its private key",
            Self::WrongPassword => {
                "give the password that the PFX or the key was encrypted with; the command line reads it from AZURE_CLIENT_CERTIFICATE_PASSWORD"
            }
            Self::Certificate(_) => "export the certificate again; the leaf comes first",
        }
    }
}
