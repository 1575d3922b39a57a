//! Private keys that sign outside of the TLS library: in a vault, an agent or a device.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use certbound_core::cause::Cause;
use certbound_core::certificate::{CertificateChain, KeyAlgorithm};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::SigningKey;
use rustls::{OtherError, SignatureAlgorithm};

use crate::error::{BindingCertificateError, KeyError};

/// A private key that signs for its owner and never leaves its vault, agent, smart card or TPM.
///
/// [`BindingCertificate::from_signer`](super::BindingCertificate::from_signer) joins a signer with a certificate. It
/// calls `sign` once, on the thread of its caller. [`MachineKey::new`](crate::managed_identity::MachineKey::new) makes
/// a signer the key of a managed identity.
///
/// `sign` blocks until the signature is complete. Later the library calls it on threads for blocking work of the async
/// runtime: in TLS handshakes of the default transport, for signed assertions and for certificate requests. A slow
/// signature therefore delays no other task. A signer should limit the time of a signature, because the library cannot
/// cancel a signature. A signer that uses an async client must run the client on a separate thread or runtime and wait
/// for the result: blocking on the caller's own runtime can deadlock. More than one thread can call `sign` at the same
/// time.
pub trait Signer: Any + Send + Sync {
    /// Returns the schemes that the key supports, in the order of preference. All of them must be for the same key.
    fn schemes(&self) -> &[SignatureScheme];

    /// Signs `message` with one of the schemes that [`Signer::schemes`] returns. The message is not hashed yet.
    ///
    /// # Errors
    /// [`KeyError`], if the key cannot be used now. After [`KeyError::handle_gone`] the client asks the source of the
    /// certificate for a new handle.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// A scheme for signatures: the kind of key, the padding and the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// RSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes. TLS 1.3 accepts only RSA-PSS from RSA keys.
    RsaPssSha256,
    /// RSA PKCS #1 v1.5 with SHA-256. Some servers with TLS 1.2 need this scheme.
    RsaPkcs1Sha256,
    /// ECDSA on P-256 with SHA-256. The signature is DER of an `Ecdsa-Sig-Value`.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384. The signature is DER of an `Ecdsa-Sig-Value`.
    EcdsaP384Sha384,
    /// ECDSA on P-521 with SHA-512. The signature is DER of an `Ecdsa-Sig-Value`.
    EcdsaP521Sha512,
}

impl SignatureScheme {
    /// Returns the scheme's name in TLS.
    pub(crate) fn in_tls(self) -> rustls::SignatureScheme {
        match self {
            Self::RsaPssSha256 => rustls::SignatureScheme::RSA_PSS_SHA256,
            Self::RsaPkcs1Sha256 => rustls::SignatureScheme::RSA_PKCS1_SHA256,
            Self::EcdsaP256Sha256 => rustls::SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::EcdsaP384Sha384 => rustls::SignatureScheme::ECDSA_NISTP384_SHA384,
            Self::EcdsaP521Sha512 => rustls::SignatureScheme::ECDSA_NISTP521_SHA512,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
            Self::EcdsaP521Sha512 => &signature::ECDSA_P521_SHA512_ASN1,
        }
    }
}

/// The message of the signature by which a signer proves its possession of a certificate's key.
const PROOF: &[u8] = b"certbound: proof that a signer has the private key of a certificate";

/// A signer with its public key, as the TLS library uses it.
#[derive(Clone)]
pub(crate) struct SignerKey {
    pub(crate) signer: Arc<dyn Signer>,
    /// DER of the `SubjectPublicKeyInfo`.
    pub(crate) public: Arc<[u8]>,
    pub(crate) algorithm: SignatureAlgorithm,
}

impl SignerKey {
    /// Joins a signer with a certificate. One signature proves that the signer and the certificate belong together.
    pub(super) fn of_chain(
        signer: Arc<dyn Signer>,
        chain: &CertificateChain,
    ) -> Result<Self, BindingCertificateError> {
        let algorithm = match chain.key_algorithm() {
            KeyAlgorithm::Rsa { .. } => SignatureAlgorithm::RSA,
            KeyAlgorithm::Ec { .. } => SignatureAlgorithm::ECDSA,
            _ => return Err(BindingCertificateError::KeyUnusable),
        };
        let key = Self { signer, public: chain.public_key_info().into(), algorithm };
        let failed = |reason| BindingCertificateError::SignerFailed { reason };
        let scheme = *key.signer.schemes().first().ok_or_else(|| failed("it supports no scheme".into()))?;
        let signature = key.signer.sign(scheme, PROOF).map_err(|error| failed(Cause::new(error)))?;
        // The algorithm refuses a key of a different kind, of a different curve, or of fewer than 2048 bits.
        let public = UnparsedPublicKey::new(scheme.verification(), &key.public);
        public.verify(PROOF, &signature).map_err(|_| BindingCertificateError::SignerMismatch)?;
        Ok(key)
    }
}

impl SigningKey for SignerKey {
    fn choose_scheme(&self, offered: &[rustls::SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let known = self.signer.schemes().iter();
        let scheme = *known.into_iter().find(|scheme| offered.contains(&scheme.in_tls()))?;
        Some(Box::new(Signing { signer: Arc::clone(&self.signer), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some((&*self.public).into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignerKey").field(&self.signer.schemes()).finish()
    }
}

/// A signer with the scheme that [`SigningKey::choose_scheme`] chose.
struct Signing {
    signer: Arc<dyn Signer>,
    scheme: SignatureScheme,
}

impl rustls::sign::Signer for Signing {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature = self.signer.sign(self.scheme, message);
        signature.map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> rustls::SignatureScheme {
        self.scheme.in_tls()
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signing").field(&self.scheme).finish()
    }
}

/// Finds the error of a signer in an error of the TLS library.
pub(crate) fn signer_error(error: &rustls::Error) -> Option<&KeyError> {
    match error {
        rustls::Error::Other(OtherError(cause)) => cause.downcast_ref(),
        _ => None,
    }
}
