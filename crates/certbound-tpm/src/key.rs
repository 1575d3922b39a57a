//! A handle of a private key in a TPM. The handle signs for TLS and for assertions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use certbound::certificate::{CertificateRequest, CertificateRequestError, SignatureScheme, Signer};
use certbound::error::KeyError;
use certbound_core::key_encoding;
use tss_esapi::Context;
use tss_esapi::constants::StructureTag;
use tss_esapi::constants::tss::TPM2_RH_NULL;
use tss_esapi::handles::ObjectHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Digest, HashScheme, HashcheckTicket, Signature, SignatureScheme as TpmScheme};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;

use crate::error::TpmError;
use crate::handle::KeyHandle;
use crate::object::{self, FoundKey};
use crate::refused;
use crate::tpm::Tpm;

/// A private key in a TPM. A clone is cheap.
///
/// `sign` blocks for at most the time limit of the TPM. If `sign` finds no key or a different key at the persistent
/// handle, this object never signs again. A return of the earlier key changes nothing. Therefore no TLS connection of
/// the earlier key is used with the new key.
#[derive(Clone)]
pub struct TpmKey {
    inner: Arc<Inner>,
}

struct Inner {
    tpm: Tpm,
    handle: KeyHandle,
    /// The name that the TPM computed for the key. It contains a hash of the public area.
    name: Vec<u8>,
    public: Vec<u8>,
    schemes: Vec<SignatureScheme>,
    leaves: Option<&'static str>,
    is_gone: AtomicBool,
}

impl Tpm {
    /// Returns the key at a handle.
    ///
    /// A key that can be copied out of the TPM is returned with a warning in the log.
    ///
    /// # Errors
    /// [`TpmError`], if there is no key, or if certbound cannot sign with it.
    pub fn key(&self, handle: KeyHandle) -> Result<TpmKey, TpmError> {
        let found = self.run(move |context| object::find(context, handle))?;
        let key = TpmKey::new(self, handle, &found)?;
        if let Some(reason) = key.leaves() {
            tracing::warn!(%handle, reason, "the key can be copied out of the TPM");
        }
        Ok(key)
    }
}

impl TpmKey {
    /// Makes the handle of a key that was found.
    pub(crate) fn new(tpm: &Tpm, handle: KeyHandle, found: &FoundKey) -> Result<Self, TpmError> {
        let unusable = |reason: &str| TpmError::KeyUnusable { handle, reason: reason.to_owned() };
        if let Some(reason) = found.fault() {
            return Err(unusable(reason));
        }
        let public = found.public_key().ok_or_else(|| unusable("its public key cannot be encoded"))?;
        let inner = Inner {
            tpm: tpm.clone(),
            handle,
            name: found.name.clone(),
            public,
            schemes: found.schemes(),
            leaves: found.leaves(),
            is_gone: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the persistent handle.
    pub fn handle(&self) -> KeyHandle {
        self.inner.handle
    }

    /// Returns the public key as DER of a `SubjectPublicKeyInfo`.
    pub fn public_key(&self) -> &[u8] {
        &self.inner.public
    }

    /// Returns the property by which the private key can exist outside of this TPM. The result is `None` if the key has
    /// no property of this kind.
    pub fn leaves(&self) -> Option<&'static str> {
        self.inner.leaves
    }

    /// Returns a certificate request in PEM, which the TPM signs. `subject` has the form of RFC 4514, for example
    /// `CN=app.contoso.com,O=Contoso`. The request has no attributes: the CA chooses the extensions.
    ///
    /// # Errors
    /// [`TpmError`], if the subject has a different form, or if the TPM does not sign.
    pub fn certificate_request(&self, subject: &str) -> Result<String, TpmError> {
        let failed = |error| match error {
            CertificateRequestError::Subject => TpmError::Subject,
            other => TpmError::KeyUnusable { handle: self.inner.handle, reason: other.to_string() },
        };
        let request =
            CertificateRequest::new(self.public_key(), subject, &self.inner.schemes).map_err(failed)?;
        let signature = self.sign_message(request.scheme(), request.to_be_signed())?;
        request.with_signature(&signature).map_err(failed)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.inner.is_gone.load(Ordering::Relaxed)
    }

    pub(crate) fn tpm(&self) -> &Tpm {
        &self.inner.tpm
    }

    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        self.inner.handle == other.inner.handle && self.inner.name == other.inner.name
    }

    pub(crate) fn sign_message(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, TpmError> {
        let handle = self.inner.handle;
        let unknown = || TpmError::KeyUnusable { handle, reason: format!("it does not support {scheme:?}") };
        let way = self.inner.schemes.contains(&scheme).then(|| Way::of(scheme)).flatten();
        let Way { hash, algorithm, in_tpm } = way.ok_or_else(unknown)?;
        let digest = digest::digest(hash, message).as_ref().to_vec();
        let in_tpm = in_tpm(HashScheme::new(algorithm));
        self.run(None, move |context, object, _| sign(context, object, handle, &digest, in_tpm))
    }

    /// Runs repeatable `work` with the object at the handle, which must still be this key. Without `limit` the limit of
    /// one command applies.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        limit: Option<Duration>,
        mut work: impl FnMut(&mut Context, ObjectHandle, FoundKey) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        let handle = self.inner.handle;
        if self.is_gone() {
            return Err(TpmError::KeyGone { handle });
        }
        let this = Arc::clone(&self.inner);
        let limit = limit.unwrap_or(self.inner.tpm.limit());
        let result = self.inner.tpm.run_long(limit, move |context| {
            object::with(context, handle, |context, object, found| match found.name == this.name {
                // The thread of the TPM looks up and records refusals, so that simultaneous callers make only one
                // refused attempt.
                true => {
                    refused::once(this.tpm.address(), handle, &this.name, || work(context, object, found))
                }
                false => Err(TpmError::KeyGone { handle }),
            })
        });
        let result = result.map_err(|error| match error {
            // `work` can look for other objects, such as the attestation key.
            TpmError::NoKey { handle: missing } if missing == handle => TpmError::KeyGone { handle },
            other => other,
        });
        if let Err(TpmError::KeyGone { .. }) = result {
            self.inner.is_gone.store(true, Ordering::Relaxed);
        }
        result
    }
}

/// The hash and the scheme by which a TPM makes a signature.
struct Way {
    hash: &'static digest::Algorithm,
    algorithm: HashingAlgorithm,
    in_tpm: fn(HashScheme) -> TpmScheme,
}

impl Way {
    fn of(scheme: SignatureScheme) -> Option<Self> {
        let pss = |hash_scheme| TpmScheme::RsaPss { hash_scheme };
        let pkcs1 = |hash_scheme| TpmScheme::RsaSsa { hash_scheme };
        let ecdsa = |hash_scheme| TpmScheme::EcDsa { hash_scheme };
        let (hash, algorithm, in_tpm): (_, _, fn(HashScheme) -> TpmScheme) = match scheme {
            SignatureScheme::RsaPssSha256 => (&digest::SHA256, HashingAlgorithm::Sha256, pss),
            SignatureScheme::RsaPkcs1Sha256 => (&digest::SHA256, HashingAlgorithm::Sha256, pkcs1),
            SignatureScheme::EcdsaP256Sha256 => (&digest::SHA256, HashingAlgorithm::Sha256, ecdsa),
            SignatureScheme::EcdsaP384Sha384 => (&digest::SHA384, HashingAlgorithm::Sha384, ecdsa),
            SignatureScheme::EcdsaP521Sha512 => (&digest::SHA512, HashingAlgorithm::Sha512, ecdsa),
            _ => return None,
        };
        Some(Self { hash, algorithm, in_tpm })
    }
}

fn sign(
    context: &mut Context,
    object: ObjectHandle,
    handle: KeyHandle,
    digest: &[u8],
    scheme: TpmScheme,
) -> Result<Vec<u8>, TpmError> {
    let failed = |error| TpmError::of("TPM2_Sign", error);
    // An unrestricted key signs a digest that the TPM has not made itself, so the ticket is empty.
    let ticket = TPMT_TK_HASHCHECK {
        tag: StructureTag::Hashcheck.into(),
        hierarchy: TPM2_RH_NULL,
        digest: Default::default(),
    };
    let ticket = HashcheckTicket::try_from(ticket).map_err(failed)?;
    let digest = Digest::try_from(digest).map_err(failed)?;
    let signed = context.execute_with_session(Some(AuthSession::Password), |context| {
        context.sign(object.into(), digest, scheme, ticket)
    });
    let signed = signed.map_err(|error| TpmError::of_key("TPM2_Sign", handle, error))?;
    let signature = match signed {
        Signature::RsaPss(signature) | Signature::RsaSsa(signature) => {
            Some(signature.signature().value().to_vec())
        }
        Signature::EcDsa(signature) => {
            key_encoding::ecdsa_signature(signature.signature_r().value(), signature.signature_s().value())
        }
        _ => None,
    };
    signature.ok_or(TpmError::OtherSignature)
}

impl Signer for TpmKey {
    fn schemes(&self) -> &[SignatureScheme] {
        &self.inner.schemes
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.sign_message(scheme, message)?)
    }
}

impl fmt::Debug for TpmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TpmKey({} of {:?})", self.inner.handle, self.inner.tpm)
    }
}
