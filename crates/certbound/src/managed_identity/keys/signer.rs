//! The interface for signing with a machine's private key, and its use in the TLS library.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::error::KeyError;

/// The private key of a machine, which may stay in its store. Implement it for a key in hardware.
///
/// It signs certificate requests on a thread for blocking work. It signs handshakes on the thread of the handshake, so
/// that thread waits. An attestation hook gets it by [`MachineKey::signer`](super::MachineKey::signer), and with it the
/// implementation's own handle of the key.
pub trait MachineSigner: Any + Send + Sync {
    /// Returns the public key: DER of a `SubjectPublicKeyInfo` with `rsaEncryption`. It is called once.
    fn public_key(&self) -> Vec<u8>;

    /// Signs `message` with RSA-PSS, SHA-256, MGF1 with SHA-256 and a salt of 32 bytes. The message is not hashed yet.
    ///
    /// # Errors
    /// [`KeyError`], if the key cannot be used now.
    fn sign_pss_sha256(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Returns whether [`MachineSigner::sign_pkcs1_sha256`] works too. Some servers with TLS 1.2 need it. Default:
    /// false.
    fn signs_pkcs1(&self) -> bool {
        false
    }

    /// Signs `message` with RSA PKCS #1 v1.5 and SHA-256. The message is not hashed yet. Default: returns an error.
    ///
    /// # Errors
    /// [`KeyError`], if the key cannot be used now or does not support PKCS #1 v1.5.
    fn sign_pkcs1_sha256(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let _ = message;
        Err(KeyError::new("the key does not sign by PKCS #1 v1.5"))
    }
}

/// A machine's key, as the TLS library uses it.
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
