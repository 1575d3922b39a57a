//! Certificate requests (PKCS#10, RFC 2986) for keys in a vault, an agent or a device.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_cert::attr::Attributes;
use x509_cert::der::asn1::{BitString, Null, ObjectIdentifier};
use x509_cert::der::{Any, Decode as _, Encode as _};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::signer::SignatureScheme;

/// The number of characters of a line in PEM (RFC 7468, section 2).
const LINE: usize = 64;

/// The schemes for signing a request, in the order of preference, with the object identifiers of the algorithms. Many
/// CAs do not accept RSA-PSS in a request.
const PREFERRED: [(SignatureScheme, ObjectIdentifier); 4] = [
    (SignatureScheme::RsaPkcs1Sha256, SHA256_WITH_RSA),
    (SignatureScheme::EcdsaP256Sha256, ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2")),
    (SignatureScheme::EcdsaP384Sha384, ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3")),
    (SignatureScheme::EcdsaP521Sha512, ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4")),
];

/// The algorithm of RSA PKCS#1 v1.5. Its parameters are NULL; the parameters of ECDSA are absent (RFC 3279, section
/// 2.2).
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

/// The reason why there is no certificate request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateRequestError {
    /// The subject does not have the form of RFC 4514, or is empty.
    #[error("the subject of the certificate request is not valid")]
    Subject,
    /// The key supports no signature that CAs accept.
    #[error(
        "the key supports no signature that CAs accept in a request: RSA PKCS#1 v1.5 with SHA-256, or ECDSA"
    )]
    NoScheme,
    /// The public key is not a `SubjectPublicKeyInfo`, or the signature cannot be encoded.
    #[error("the public key or the signature of the certificate request cannot be encoded")]
    Encoding,
}

/// A certificate request (PKCS#10) whose signature is still missing. The request has no attributes: the CA chooses the
/// extensions.
///
/// The library does not verify the signature. The CA verifies it with the key in the request.
#[derive(Debug)]
pub struct CertificateRequest {
    info: CertReqInfo,
    message: Vec<u8>,
    scheme: SignatureScheme,
    algorithm: AlgorithmIdentifierOwned,
}

impl CertificateRequest {
    /// Makes a request. `public_key` is DER of a `SubjectPublicKeyInfo`. `subject` has the form of RFC 4514, for
    /// example `CN=app.contoso.com,O=Contoso`. `schemes` are the schemes of the key.
    ///
    /// # Errors
    /// [`CertificateRequestError`], if the subject has a different form, or if CAs accept no signature of the key.
    pub fn new(
        public_key: &[u8],
        subject: &str,
        schemes: &[SignatureScheme],
    ) -> Result<Self, CertificateRequestError> {
        let subject = Name::from_str(subject).map_err(|_| CertificateRequestError::Subject)?;
        if subject.is_empty() {
            return Err(CertificateRequestError::Subject);
        }
        let preferred = PREFERRED.into_iter().find(|(scheme, _)| schemes.contains(scheme));
        let (scheme, oid) = preferred.ok_or(CertificateRequestError::NoScheme)?;
        let parameters = (oid == SHA256_WITH_RSA).then(|| Any::from(Null));
        let encoded = |_| CertificateRequestError::Encoding;
        let info = CertReqInfo {
            version: Version::V1,
            subject,
            public_key: SubjectPublicKeyInfoOwned::from_der(public_key).map_err(encoded)?,
            attributes: Attributes::default(),
        };
        let message = info.to_der().map_err(encoded)?;
        Ok(Self { info, message, scheme, algorithm: AlgorithmIdentifierOwned { oid, parameters } })
    }

    /// Returns the scheme of the signature.
    pub fn scheme(&self) -> SignatureScheme {
        self.scheme
    }

    /// Returns the bytes to sign.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.message
    }

    /// Returns the whole request in PEM.
    ///
    /// # Errors
    /// [`CertificateRequestError::Encoding`], if the request or its signature cannot be encoded.
    pub fn with_signature(self, signature: &[u8]) -> Result<String, CertificateRequestError> {
        let encoded = |_| CertificateRequestError::Encoding;
        let request = CertReq {
            info: self.info,
            algorithm: self.algorithm,
            signature: BitString::from_bytes(signature).map_err(encoded)?,
        };
        Ok(pem(&request.to_der().map_err(encoded)?))
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..text.len()).step_by(LINE).map(|at| &text[at..text.len().min(at + LINE)]).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
}
