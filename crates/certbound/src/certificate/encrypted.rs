//! Encrypted private keys: PKCS #8 `EncryptedPrivateKeyInfo` (RFC 5958, section 3). No other module uses their parser.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::secret::Secret;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::BindingCertificateError;

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// Returns the DER of every encrypted key in the text.
pub(super) fn sections(pem: &[u8]) -> Result<Vec<Vec<u8>>, BindingCertificateError> {
    let broken = |reason| BindingCertificateError::BrokenPem { reason };
    // Bytes outside the sections need not be text.
    let text = String::from_utf8_lossy(pem);
    let mut found = Vec::new();
    for rest in text.split(BEGIN).skip(1) {
        let (base64, _) = rest.split_once(END).ok_or_else(|| broken("a section has no END line"))?;
        let base64: String = base64.split_ascii_whitespace().collect();
        found.push(STANDARD.decode(base64).map_err(|_| broken("a section is not base64"))?);
    }
    Ok(found)
}

/// Decrypts a key with the password: PBES2 with PBKDF2 or scrypt, and AES or 3DES.
pub(super) fn open(
    der: &[u8],
    password: Option<&Secret>,
) -> Result<PrivateKeyDer<'static>, BindingCertificateError> {
    let password = password.ok_or(BindingCertificateError::EncryptedKey)?;
    let encrypted =
        EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| BindingCertificateError::KeyUnusable)?;
    let key = encrypted.decrypt(password.expose()).map_err(|error| match error {
        // After a wrong password the padding is wrong, or the result is not a key.
        pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::DecryptFailed | pkcs8::pkcs5::Error::EncryptFailed,
        )
        | pkcs8::Error::Asn1(_)
        | pkcs8::Error::KeyMalformed(_) => BindingCertificateError::WrongPassword,
        _ => BindingCertificateError::UnknownEncryption,
    })?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec())))
}
