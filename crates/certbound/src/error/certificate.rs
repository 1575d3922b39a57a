//! The reasons why a binding certificate could not be loaded.

use std::fmt;
use std::path::{Path, PathBuf};

use certbound_core::cause::Cause;
use certbound_core::certificate::CertificateError;
use certbound_core::time::{UnixTime, in_words};
use strum::EnumProperty as _;

use super::machine_key::fix_of_signer;

/// The fault of a certificate, its key or its file. No variant contains any part of the key.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum BindingCertificateError {
    /// The fault of a file that was read.
    #[error("{}: {error}", .path.display())]
    InFile {
        /// The file of the certificate, or the file of the key if the fault is the key's.
        path: PathBuf,
        /// The fault.
        #[source]
        error: Box<Self>,
    },
    /// The file could not be read.
    #[error("{path} cannot be read: {reason}")]
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
    /// The input has no certificate.
    #[error("the input contains no certificate (no `BEGIN CERTIFICATE`)")]
    #[strum(props(code = "certificate_missing"))]
    #[strum(props(fix = "put the leaf certificate, then its issuers, into the file"))]
    NoCertificate,
    /// The input has no private key.
    #[error("the input contains no private key")]
    #[strum(props(code = "cert_without_private_key"))]
    #[strum(props(fix = "add the private key to the file, or give the file of the key too"))]
    NoPrivateKey,
    /// The input has more than one private key.
    #[error("the input contains {count} private keys, but exactly one private key is expected")]
    #[strum(props(
        code = "certificate_several_keys",
        fix = "remove all private keys except the key of the first certificate"
    ))]
    SeveralPrivateKeys {
        /// The number of private keys.
        count: usize,
    },
    /// The key or the PFX is encrypted, and no password was given.
    #[error("the private key or the PFX is encrypted, and no password was given")]
    #[strum(props(code = "certificate_key_encrypted"))]
    #[strum(props(
        fix = "give the password; the command line reads it from AZURE_CLIENT_CERTIFICATE_PASSWORD"
    ))]
    EncryptedKey,
    /// The key is encrypted in OpenSSL's traditional format, which is older than PKCS #8.
    #[error(
        "the private key is encrypted in OpenSSL's traditional format (`Proc-Type: 4,ENCRYPTED`), which is not supported"
    )]
    #[strum(props(code = "certificate_key_encryption_unknown"))]
    #[strum(props(fix = "encrypt the key again: `openssl pkcs8 -topk8 -in key.pem -out new.pem`"))]
    EncryptedTraditionally,
    /// The key is encrypted by a scheme that is not supported.
    #[error(
        "the private key is encrypted by a scheme that is not supported; PBES2 with AES or 3DES is supported"
    )]
    #[strum(props(code = "certificate_key_encryption_unknown"))]
    #[strum(props(fix = "encrypt the key again: `openssl pkcs8 -topk8 -in key.pem -out new.pem`"))]
    UnknownEncryption,
    /// The key cannot be parsed, its kind is not supported, or it did not sign.
    #[error(
        "the private key cannot be used: it is damaged, or it is neither RSA (2048 bits or more) nor EC (P-256, P-384, P-521)"
    )]
    #[strum(props(code = "cryptographic_error"))]
    #[strum(props(fix = "use an RSA key of 2048 bits or more, or an EC key on P-256, P-384 or P-521"))]
    KeyUnusable,
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the certificate")]
    #[strum(props(code = "certificate_key_mismatch"))]
    #[strum(props(
        fix = "use the key that the certificate was issued for; in a chain the leaf must be the first certificate"
    ))]
    KeyMismatch,
    /// The leaf is an X.509 version 1 certificate, which has no extensions. TLS servers refuse it.
    #[error("the certificate is X.509 version 1, which TLS servers refuse; version 3 is needed")]
    #[strum(props(code = "certificate_version_1"))]
    #[strum(props(
        fix = "issue the certificate again with an extension: without an extension, `openssl x509 -req` writes version 1; add, for example, `-extfile <(echo extendedKeyUsage=clientAuth)` or `-copy_extensions copy`"
    ))]
    Version1,
    /// The signer that has the private key returned an error.
    #[error("the signer of the certificate's private key failed: {reason}")]
    #[strum(props(code = "cryptographic_error"))]
    SignerFailed {
        /// The signer's error.
        #[source]
        reason: Cause,
    },
    /// The signature of the signer cannot be verified with the public key of the certificate.
    #[error("the signer's signature does not match the public key of the certificate")]
    #[strum(props(code = "certificate_key_mismatch"))]
    #[strum(props(
        fix = "use a signer that has the certificate's private key; it must sign the message itself (not the hash) by the requested scheme, and return ECDSA signatures in DER"
    ))]
    SignerMismatch,
    /// An RSA signature is needed and the key is not RSA.
    #[error("an RSA key is needed to sign the client's assertion, but this key is not RSA")]
    #[strum(props(code = "certificate_not_rsa"))]
    #[strum(props(fix = "request a bound token, which works with every key, or use an RSA certificate"))]
    NotRsa,
    /// The file is a PFX, but PEM is expected. Every build returns this error. The cargo feature `pfx` adds the
    /// functions that read a PFX.
    #[error("the input is a PFX (PKCS#12), but a PEM file is expected")]
    #[strum(props(code = "certificate_pfx_unexpected"))]
    #[strum(props(
        fix = "convert the file: `openssl pkcs12 -in app.pfx -out app.pem`; or turn on the cargo feature `pfx` of certbound and read the file by a function with `pfx` in its name; the command line reads a PFX as one file, without --certificate-key"
    ))]
    PfxInsteadOfPem,
    /// The input is a single certificate in DER, without a private key, but PEM or PFX is expected.
    #[error(
        "the input is a certificate in DER, without a private key; a PEM or PFX file with certificate and key is expected"
    )]
    #[strum(props(code = "certificate_der_unexpected"))]
    #[strum(props(
        fix = "convert the file: `openssl x509 -inform DER -in FILE -out cert.pem`, and give the file of the private key too (on the command line --certificate-key)"
    ))]
    DerInsteadOfPem,
    /// The file is not a usable PKCS#12 file.
    #[error("the PFX cannot be read: {reason}")]
    #[strum(props(code = "certificate_pfx_invalid"))]
    #[strum(props(fix = "export the PFX again with one certificate and its private key"))]
    BrokenPfx {
        /// The fault of the file.
        #[source]
        reason: Cause,
    },
    /// The password does not open the PFX or the private key.
    #[error("the password is wrong: it does not decrypt the private key or the PFX")]
    #[strum(props(code = "certificate_password_wrong"))]
    #[strum(props(
        fix = "give the password that the PFX or the key was encrypted with; the command line reads it from AZURE_CLIENT_CERTIFICATE_PASSWORD"
    ))]
    WrongPassword,
    /// The certificate itself is unusable.
    #[error(transparent)]
    #[strum(props(fix = "export the certificate again; the leaf must be the first certificate"))]
    Certificate(#[from] CertificateError),
}

impl BindingCertificateError {
    /// Returns MSAL's name for this error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InFile { error, .. } => error.code(),
            Self::Certificate(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::InFile { error, .. } => error.fix(),
            Self::Certificate(error @ CertificateError::TooLong { .. }) => error.fix(),
            Self::SignerFailed { reason } => fix_of_signer(reason),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }

    /// Returns the fault itself, without the name of its file.
    pub fn without_file(&self) -> &Self {
        match self {
            Self::InFile { error, .. } => error.without_file(),
            other => other,
        }
    }

    /// Returns the same error with the file that has the fault.
    pub(crate) fn in_file(self, file: Option<&Path>) -> Self {
        match (file, self) {
            (Some(path), error) => Self::InFile { path: path.to_owned(), error: Box::new(error) },
            (None, error) => error,
        }
    }
}

/// The error of a certificate that has expired or is not valid yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateNotValid {
    /// The start of the certificate's validity.
    pub not_before: UnixTime,
    /// The end of the certificate's validity.
    pub not_after: UnixTime,
    /// The time with which the validity was compared.
    pub now: UnixTime,
    /// The file that the certificate was loaded from.
    pub file: Option<PathBuf>,
}

impl CertificateNotValid {
    /// Returns whether the certificate has expired. If not, it is not valid yet.
    pub fn is_expired(&self) -> bool {
        self.now >= self.not_after
    }

    /// Returns MSAL's name for this error, or certbound's own name if MSAL has no name.
    pub fn code(&self) -> &'static str {
        "certificate_not_valid_now"
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        match self.is_expired() {
            true => "renew the certificate; if the certificate has not expired, correct this machine's clock",
            false => {
                "wait until the certificate is valid; if the certificate is already valid, correct this machine's clock"
            }
        }
    }
}

impl fmt::Display for CertificateNotValid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { not_before, not_after, now, file } = self;
        f.write_str("the certificate ")?;
        if let Some(file) = file {
            write!(f, "of {} ", file.display())?;
        }
        if self.is_expired() {
            let ago = in_words(now.since(*not_after));
            write!(f, "was valid until {not_after} and expired {ago} ago; the clock shows {now}")
        } else {
            let ahead = in_words(not_before.since(*now));
            write!(f, "is not valid yet: it becomes valid at {not_before}, in {ahead}; the clock shows {now}")
        }
    }
}

impl std::error::Error for CertificateNotValid {}
