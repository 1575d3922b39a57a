//! The place of a private key, and the bytes of a key that is in memory.

#[cfg(feature = "foreign-tls")]
use std::{fmt, sync::Arc};

#[cfg(feature = "foreign-tls")]
use certbound_core::secret::SecretBytes;
use rustls::pki_types::PrivateKeyDer;

/// The place of a private key.
pub(crate) enum KeyPlace {
    /// The memory of this process. The value has the bytes of the key, if another TLS library may get a copy of them.
    Memory(Option<PrivateKey>),
    /// A vault, an agent or a device. A signature blocks until the vault, agent or device answers.
    Elsewhere,
}

/// The private key of a certificate, as DER. The bytes are wiped from memory when the last clone is dropped, and never
/// printed.
#[cfg(feature = "foreign-tls")]
#[derive(Clone)]
pub struct PrivateKey(Arc<SecretBytes>);

/// In a build without the feature `foreign-tls` no value of this type exists, so no bytes are kept.
#[cfg(not(feature = "foreign-tls"))]
pub(crate) type PrivateKey = std::convert::Infallible;

impl KeyPlace {
    /// Returns the place of a key that was read as these bytes.
    #[cfg(feature = "foreign-tls")]
    pub(super) fn of(key: &PrivateKeyDer<'_>) -> Self {
        Self::Memory(Some(PrivateKey(Arc::new(key.secret_der().to_vec().into()))))
    }

    #[cfg(not(feature = "foreign-tls"))]
    pub(super) fn of(_: &PrivateKeyDer<'_>) -> Self {
        Self::memory()
    }

    /// Returns the place of a key in memory whose bytes no caller can get.
    pub(crate) fn memory() -> Self {
        Self::Memory(None)
    }

    /// Returns the bytes of the key, if the program may have them.
    #[cfg(feature = "foreign-tls")]
    pub(super) fn bytes(&self) -> Option<&PrivateKey> {
        match self {
            Self::Memory(bytes) => bytes.as_ref(),
            Self::Elsewhere => None,
        }
    }
}

#[cfg(feature = "foreign-tls")]
impl PrivateKey {
    /// Returns the DER of the key: PKCS #8 (RFC 5208), PKCS #1 (RFC 8017) or SEC 1 (RFC 5915), as in its file.
    pub fn dangerous_der(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(feature = "foreign-tls")]
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

#[cfg(all(test, feature = "foreign-tls"))]
mod tests {
    use crate::certificate::BindingCertificate;

    #[test]
    fn a_key_of_a_file_is_exported_and_never_printed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/certificates/");
        let file = |name: &str| std::fs::read(format!("{folder}{name}")).unwrap();
        let certificate =
            BindingCertificate::from_pem_pair(&file("p256.pem"), &file("p256.pkcs8.pem")).unwrap();
        let key = certificate.dangerous_private_key().unwrap();
        assert!(key.dangerous_der().starts_with(&[0x30]), "DER begins with a SEQUENCE");
        assert_eq!(format!("{key:?}"), "PrivateKey(..)");
    }
}
