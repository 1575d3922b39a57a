//! A private key that signs where it is kept, and the same key as the TLS library wants it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::error::KeyError;

/// The private half of a machine's RSA key, which need not leave where it is kept. Implement it for a key in hardware.
///
/// It signs a certificate request on a blocking thread, and handshakes on the thread that does the handshake: both wait for
/// it. An attestation hook gets it back by [`MachineKey::signer`](super::MachineKey::signer), and with it whatever handle the
/// implementor has.
pub trait MachineSigner: Any + Send + Sync {
    /// The public half: DER of a `SubjectPublicKeyInfo` of the kind `rsaEncryption`. Asked for once.
    fn public_key(&self) -> Vec<u8>;

    /// The signature of `message` by RSA-PSS with SHA-256, MGF1 of SHA-256 and a salt of 32 bytes. The message is not hashed
    /// yet.
    ///
    /// # Errors
    /// [`KeyError`] when the key cannot be used now.
    fn sign_pss_sha256(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Whether [`MachineSigner::sign_pkcs1_sha256`] works too, which some servers of TLS 1.2 want. Default: no.
    fn signs_pkcs1(&self) -> bool {
        false
    }

    /// The signature of `message` by RSA PKCS #1 v1.5 with SHA-256. The message is not hashed yet.
    ///
    /// # Errors
    /// [`KeyError`] when the key cannot be used now. Default: always.
    fn sign_pkcs1_sha256(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let _ = message;
        Err(KeyError::new("the key does not sign by PKCS #1 v1.5"))
    }
}

/// A key in a TLS handshake.
#[derive(Clone)]
pub(super) struct InTls {
    pub(super) signer: Arc<dyn MachineSigner>,
    pub(super) public: Arc<[u8]>,
}

impl SigningKey for InTls {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let pkcs1 = self.signer.signs_pkcs1().then_some(SignatureScheme::RSA_PKCS1_SHA256);
        let known = [Some(SignatureScheme::RSA_PSS_SHA256), pkcs1].into_iter().flatten();
        let scheme = known.into_iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(Signing { signer: Arc::clone(&self.signer), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some((&*self.public).into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl fmt::Debug for InTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InTls(machine key)")
    }
}

struct Signing {
    signer: Arc<dyn MachineSigner>,
    scheme: SignatureScheme,
}

impl Signer for Signing {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature = match self.scheme {
            SignatureScheme::RSA_PKCS1_SHA256 => self.signer.sign_pkcs1_sha256(message),
            _ => self.signer.sign_pss_sha256(message),
        };
        signature.map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signing").field(&self.scheme).finish()
    }
}
