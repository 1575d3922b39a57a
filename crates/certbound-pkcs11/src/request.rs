//! Certificate requests (PKCS#10, RFC 2986) that a key in a token signs.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound::certificate::{SignatureScheme, Signer as _};
use x509_cert::attr::Attributes;
use x509_cert::der::asn1::{BitString, Null, ObjectIdentifier};
use x509_cert::der::{Any, Decode as _, Encode as _};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::error::Pkcs11Error;
use crate::key::TokenKey;

/// The number of characters of a line in PEM (RFC 7468, section 2).
const LINE: usize = 64;

impl TokenKey {
    /// Returns a certificate request in PEM, which the token signs. `subject` has the form of RFC 4514, for example
    /// `CN=app.contoso.com,O=Contoso`. The request has no attributes: the CA chooses the extensions.
    ///
    /// # Errors
    /// [`Pkcs11Error`], if the subject has another form, if the token does not know the public key, or if it does not sign.
    pub fn certificate_request(&self, subject: &str) -> Result<String, Pkcs11Error> {
        let unusable =
            |reason: &str| Pkcs11Error::KeyUnusable { key: self.uri().to_owned(), reason: reason.to_owned() };
        let public = self.public_key().ok_or_else(|| unusable("the token does not know its public key"))?;
        let subject = Name::from_str(subject).map_err(|_| Pkcs11Error::Subject)?;
        if subject.is_empty() {
            return Err(Pkcs11Error::Subject);
        }
        let encoded = |_| unusable("the request cannot be encoded");
        let info = CertReqInfo {
            version: Version::V1,
            subject,
            public_key: SubjectPublicKeyInfoOwned::from_der(public).map_err(encoded)?,
            attributes: Attributes::default(),
        };
        // Many CAs do not accept RSA-PSS in a request.
        let preferred = [
            SignatureScheme::RsaPkcs1Sha256,
            SignatureScheme::EcdsaP256Sha256,
            SignatureScheme::EcdsaP384Sha384,
            SignatureScheme::EcdsaP521Sha512,
        ];
        let scheme = preferred.into_iter().find(|scheme| self.schemes().contains(scheme));
        let scheme = scheme
            .ok_or_else(|| unusable("the token has no mechanism that CAs accept (CKM_SHA256_RSA_PKCS)"))?;
        let signature = self.sign_message(scheme, &info.to_der().map_err(encoded)?)?;
        let request = CertReq {
            info,
            algorithm: algorithm(scheme),
            signature: BitString::from_bytes(&signature).map_err(encoded)?,
        };
        Ok(pem(&request.to_der().map_err(encoded)?))
    }
}

fn algorithm(scheme: SignatureScheme) -> AlgorithmIdentifierOwned {
    let (oid, parameters) = match scheme {
        SignatureScheme::EcdsaP256Sha256 => (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), None),
        SignatureScheme::EcdsaP384Sha384 => (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), None),
        SignatureScheme::EcdsaP521Sha512 => (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), None),
        _ => (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), Some(Any::from(Null))),
    };
    AlgorithmIdentifierOwned { oid, parameters }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..text.len()).step_by(LINE).map(|at| &text[at..text.len().min(at + LINE)]).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
}
