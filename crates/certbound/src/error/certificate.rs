//! The reasons why a binding certificate could not be loaded.

use certbound_core::cause::Cause;
use certbound_core::certificate::CertificateError;
use strum::EnumProperty as _;

/// The fault of a certificate, its key or its file. No variant holds any part of the key.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum BindingCertificateError {
    /// The file could not be read.
    #[error("cannot read {path}: {reason}")]
    #[strum(props(code = "certificate_file_unreadable"))]
    #[strum(props(fix = "check the path and that this user may read it"))]
    Unreadable {
        /// The file.
        path: String,
        /// The system's error.
        #[source]
        reason: Cause,
    },
    /// A PEM section is broken.
    #[error("the PEM text is damaged: {reason}")]
    #[strum(props(code = "certificate_pem_invalid", fix = "export the certificate and key again as PEM"))]
    BrokenPem {
        /// The fault of the section.
        reason: &'static str,
    },
    /// The text has no certificate.
    #[error("there is no certificate in it (no `BEGIN CERTIFICATE`)")]
    #[strum(props(code = "certificate_missing"))]
    #[strum(props(fix = "put the leaf certificate, then its issuers, into the file"))]
    NoCertificate,
    /// The text has no private key.
    #[error("there is no private key in it")]
    #[strum(props(code = "cert_without_private_key"))]
    #[strum(props(fix = "add the private key to the file, or name its file beside the certificate's"))]
    NoPrivateKey,
    /// The text has more than one private key.
    #[error("there are {count} private keys in it; exactly one is expected")]
    #[strum(props(code = "certificate_several_keys", fix = "keep only the key of the first certificate"))]
    SeveralPrivateKeys {
        /// The number of private keys.
        count: usize,
    },
    /// The key is encrypted, and no password was given.
    #[error("the private key is encrypted, and no password is given")]
    #[strum(props(code = "certificate_key_encrypted"))]
    #[strum(props(
        fix = "give its password; the command line reads it from AZURE_CLIENT_CERTIFICATE_PASSWORD"
    ))]
    EncryptedKey,
    /// The key is encrypted in OpenSSL's way from before PKCS #8.
    #[error(
        "the private key is encrypted in OpenSSL's traditional way, which is not read (`Proc-Type: 4,ENCRYPTED`)"
    )]
    #[strum(props(code = "certificate_key_encryption_unknown"))]
    #[strum(props(fix = "encrypt it anew: `openssl pkcs8 -topk8 -in key.pem -out new.pem`"))]
    EncryptedTraditionally,
    /// The key is encrypted by a scheme that is not known here.
    #[error("the private key is encrypted by a scheme that is not read; PBES2 with AES or 3DES is")]
    #[strum(props(code = "certificate_key_encryption_unknown"))]
    #[strum(props(fix = "encrypt it anew: `openssl pkcs8 -topk8 -in key.pem -out new.pem`"))]
    UnknownEncryption,
    /// The key cannot be parsed, or is of a kind TLS does not take.
    #[error(
        "the private key cannot be used: it is damaged, or not RSA (2048 bits or more) or EC (P-256, P-384, P-521)"
    )]
    #[strum(props(code = "cryptographic_error"))]
    #[strum(props(fix = "use an RSA key of 2048 bits or more, or an EC key on P-256, P-384 or P-521"))]
    KeyUnusable,
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the certificate")]
    #[strum(props(code = "certificate_key_mismatch"))]
    #[strum(props(fix = "pair the certificate with the key it was issued for; the leaf comes first"))]
    KeyMismatch,
    /// An RSA signature is needed and the key is not RSA.
    #[error("an RSA key is needed to sign the client's assertion, and this key is not RSA")]
    #[strum(props(code = "certificate_not_rsa"))]
    #[strum(props(fix = "ask for a bound token, which works with any key, or use an RSA certificate"))]
    NotRsa,
    /// A PFX where PEM is read. Every build says so; the cargo feature `pfx` adds the functions that read one.
    #[error("it is a PFX (PKCS#12), but a PEM file is expected")]
    #[strum(props(code = "certificate_pfx_unexpected"))]
    #[strum(props(
        fix = "convert it: `openssl pkcs12 -in app.pfx -out app.pem`; or turn on the cargo feature `pfx` of certbound and read it by one of the functions with `pfx` in their names; the command line reads it as one file, without --certificate-key"
    ))]
    PfxInsteadOfPem,
    /// The file is not a usable PKCS#12 file.
    #[error("the PFX cannot be read: {reason}")]
    #[strum(props(code = "certificate_pfx_invalid"))]
    #[strum(props(fix = "export it again with one certificate and its private key"))]
    BrokenPfx {
        /// The fault of the file.
        #[source]
        reason: Cause,
    },
    /// The password does not open the PFX or the private key.
    #[error("the password is not the one that the key was encrypted with")]
    #[strum(props(code = "certificate_password_wrong"))]
    #[strum(props(
        fix = "give the password that the PFX or the key was encrypted with; the command line reads it from AZURE_CLIENT_CERTIFICATE_PASSWORD"
    ))]
    WrongPassword,
    /// The certificate itself is unusable.
    #[error(transparent)]
    #[strum(props(fix = "export the certificate again; the leaf comes first"))]
    Certificate(CertificateError),
}

impl BindingCertificateError {
    /// MSAL's name for this error, or certbound's own name if MSAL has none.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// The advice for this error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}
