//! The bytes of a private key, for a TLS library other than rustls.

use std::fmt;
use std::sync::Arc;

use certbound_core::secret::SecretBytes;
use rustls::pki_types::PrivateKeyDer;

/// The private key of a certificate, as DER. The bytes are wiped from memory when the last handle is dropped, and never
/// printed.
#[derive(Clone)]
pub struct PrivateKey(Arc<SecretBytes>);

impl PrivateKey {
    /// Returns the DER of the key: PKCS #8 (RFC 5208), PKCS #1 (RFC 8017) or SEC 1 (RFC 5915), as in its file.
    pub fn dangerous_der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// The key of a certificate, if the program has its bytes.
pub(crate) struct Exported(Option<PrivateKey>);

impl Exported {
    /// Returns the value for a key that is elsewhere: in a device, a vault or an agent.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    pub(super) fn of(key: &PrivateKeyDer<'_>) -> Self {
        Self(Some(PrivateKey(Arc::new(key.secret_der().to_vec().into()))))
    }

    pub(super) fn key(&self) -> Option<&PrivateKey> {
        self.0.as_ref()
    }
}

#[cfg(test)]
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
