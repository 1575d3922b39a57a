//! A handle of a private key in a token. It signs for TLS and for assertions.

use std::fmt;
use std::sync::Arc;

use certbound::certificate::{CertificateRequest, CertificateRequestError, SignatureScheme, Signer};
use certbound::error::KeyError;
use cryptoki::object::ObjectHandle;

use crate::error::{Outlook, Pkcs11Error};
use crate::mechanism::{KeyKind, Way};
use crate::objects::{self, FoundKey, Selector};
use crate::token::{Opened, Token};

/// A private key in a PKCS#11 token. It is cheap to clone.
///
/// `sign` blocks for at most the time limit of the token. A handle belongs to one opening of the token: after the token
/// was taken out, the handles of that opening never sign again. So a client never uses a connection of an old handle
/// with a new handle.
#[derive(Clone)]
pub struct TokenKey {
    inner: Arc<Inner>,
}

struct Inner {
    token: Token,
    opening: u64,
    id: Vec<u8>,
    label: Vec<u8>,
    public: Option<Vec<u8>>,
    shown: String,
    schemes: Vec<SignatureScheme>,
    ways: Vec<(SignatureScheme, Way)>,
}

impl TokenKey {
    /// Makes the handle of a key that was found in this opening.
    pub(crate) fn new(token: &Token, opened: &Opened, found: &FoundKey) -> Result<Self, Pkcs11Error> {
        let unusable =
            |reason: &str| Pkcs11Error::KeyUnusable { key: found.shown(), reason: reason.to_owned() };
        let kind =
            found.kind.ok_or_else(|| unusable("it is neither an RSA key nor an EC key on a known curve"))?;
        if !found.may_sign {
            return Err(unusable("it may not sign (CKA_SIGN is false)"));
        }
        if found.asks_each_time {
            return Err(unusable("it needs the PIN for each signature (CKA_ALWAYS_AUTHENTICATE is true)"));
        }
        let schemes = kind.schemes(&opened.mechanisms);
        if schemes.is_empty() {
            let needed = match kind {
                KeyKind::Rsa => {
                    "the token lacks the mechanisms for RSA signatures with SHA-256 (CKM_SHA256_RSA_PKCS_PSS, CKM_RSA_PKCS_PSS, CKM_SHA256_RSA_PKCS, CKM_RSA_PKCS)"
                }
                KeyKind::Ec(_) => "the token lacks the mechanism CKM_ECDSA",
            };
            return Err(unusable(needed));
        }
        let ways = schemes.iter().filter_map(|it| Some((*it, Way::of(*it, &opened.mechanisms)?))).collect();
        let inner = Inner {
            token: token.clone(),
            opening: opened.opening,
            id: found.id.clone(),
            label: found.label.clone(),
            public: found.public.clone(),
            shown: found.shown(),
            schemes,
            ways,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the label and the id of the key in the form of a PKCS#11 URI. An attestation hook can find the key by
    /// this text.
    pub fn uri(&self) -> &str {
        &self.inner.shown
    }

    /// Returns the public key as DER of a `SubjectPublicKeyInfo`, if the token reports it.
    pub fn public_key(&self) -> Option<&[u8]> {
        self.inner.public.as_deref()
    }

    /// Returns a certificate request in PEM, which the token signs. `subject` has the form of RFC 4514, for example
    /// `CN=app.contoso.com,O=Contoso`. The request has no attributes: the CA chooses the extensions.
    ///
    /// # Errors
    /// [`Pkcs11Error`], if the subject does not have this form, if the token does not know the public key, or if the
    /// token does not sign.
    pub fn certificate_request(&self, subject: &str) -> Result<String, Pkcs11Error> {
        let unusable = |reason: String| Pkcs11Error::KeyUnusable { key: self.uri().to_owned(), reason };
        let failed = |error| match error {
            CertificateRequestError::Subject => Pkcs11Error::Subject,
            CertificateRequestError::NoScheme => {
                unusable("the token has no mechanism that CAs accept (CKM_SHA256_RSA_PKCS)".to_owned())
            }
            other => unusable(other.to_string()),
        };
        let public = self.public_key();
        let public = public.ok_or_else(|| unusable("the token does not know its public key".to_owned()))?;
        let request = CertificateRequest::new(public, subject, self.schemes()).map_err(failed)?;
        let signature = self.sign_message(request.scheme(), request.to_be_signed())?;
        request.with_signature(&signature).map_err(failed)
    }

    pub(crate) fn opening(&self) -> u64 {
        self.inner.opening
    }

    /// Returns whether both handles of one token sign with the same key in the same opening.
    pub(crate) fn is_same_handle(&self, other: &Self) -> bool {
        let of = |key: &Self| (key.inner.opening, key.inner.shown.clone(), key.inner.public.clone());
        of(self) == of(other)
    }

    pub(crate) fn sign_message(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, Pkcs11Error> {
        let inner = &self.inner;
        let Some((_, way)) = inner.ways.iter().find(|(known, _)| *known == scheme) else {
            let reason = format!("it does not support {scheme:?}");
            return Err(Pkcs11Error::KeyUnusable { key: inner.shown.clone(), reason });
        };
        let (way, input, this) = (*way, way.input(message), Arc::clone(inner));
        inner.token.run(Some(inner.opening), move |opened| {
            let handle = this.handle(opened)?;
            let signature = opened.session.sign(&way.mechanism(), handle, &input)?;
            way.output(signature).ok_or_else(|| Pkcs11Error::Call {
                call: "C_Sign".to_owned(),
                reason: "the signature does not have two halves".to_owned(),
                outlook: Outlook::Permanent,
            })
        })
    }
}

impl Inner {
    /// Returns the handle of the key in this session.
    fn handle(&self, opened: &mut Opened) -> Result<ObjectHandle, Pkcs11Error> {
        let name = (self.id.clone(), self.label.clone());
        if let Some(handle) = opened.keys.get(&name) {
            return Ok(*handle);
        }
        let selector = Selector {
            label: Some(String::from_utf8_lossy(&self.label).into_owned()).filter(|label| !label.is_empty()),
            id: Some(self.id.clone()).filter(|id| !id.is_empty()),
        };
        // Another key can have the same name now.
        let mut found = objects::keys(opened, &selector)?;
        found.retain(|it| it.public == self.public);
        let key = only_one(opened, found, &selector)?;
        opened.keys.insert(name, key.handle);
        Ok(key.handle)
    }
}

/// Returns the only key.
pub(crate) fn only_one(
    opened: &Opened,
    mut found: Vec<FoundKey>,
    selector: &Selector,
) -> Result<FoundKey, Pkcs11Error> {
    let (token, wanted) = (opened.label.clone(), selector.shown());
    match (found.len(), found.pop()) {
        (1, Some(key)) => Ok(key),
        (0, _) => Err(Pkcs11Error::NoKey { token, wanted }),
        (count, last) => {
            let all: Vec<_> = found.iter().chain(last.as_ref()).take(8).map(FoundKey::shown).collect();
            Err(Pkcs11Error::SeveralKeys { token, wanted, count, found: all.join(", ") })
        }
    }
}

impl Signer for TokenKey {
    fn schemes(&self) -> &[SignatureScheme] {
        &self.inner.schemes
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.sign_message(scheme, message)?)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({} of {:?})", self.inner.shown, self.inner.token)
    }
}
