//! The public part of a certificate, and its thumbprint.

mod key;
mod usage;

use std::fmt;
use strum::EnumProperty as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use x509_parser::prelude::*;

pub use self::key::{Curve, KeyAlgorithm};
pub use self::usage::CertificateUsage;
use crate::time::UnixTime;

/// `x5t#S256`: the SHA-256 of a certificate's whole DER (RFC 8705, section 3.1).
///
/// The thumbprint changes if any byte of the certificate changes: a renewed certificate with the same key is a
/// different binding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Every cache hit copies and compares thumbprints. An `Option` of an aligned value is copied in whole words.
#[repr(align(8))]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The thumbprint of a certificate in DER.
    pub fn of_der(der: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The thumbprint in the form of a token's claim: base64url without padding, 43 characters.
    pub fn x5t_s256(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The thumbprint in lower-case hexadecimal, without colons.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a token's `x5t#S256` is this thumbprint. The comparison takes constant time.
    ///
    /// The texts are compared without decoding: a non-canonical base64url of the same bytes does not match.
    pub fn matches_claim(&self, claim: &str) -> bool {
        let mut own = [0; 43];
        // The base64url of 32 bytes always has 43 characters.
        let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut own);
        written.is_ok() && bool::from(own.ct_eq(claim.as_bytes()))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.x5t_s256())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// A certificate with its issuers, leaf first, each in DER.
///
/// Every certificate was parsed. The signatures, the dates and the purpose were not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateChain {
    ders: Vec<Vec<u8>>,
    thumbprint: Thumbprint,
    not_before: UnixTime,
    not_after: UnixTime,
    subject: String,
    issuer: String,
    key_algorithm: KeyAlgorithm,
    public_key_info: Vec<u8>,
    version: u32,
}

impl CertificateChain {
    /// The largest number of certificates in a chain.
    pub const MAX_LENGTH: usize = 16;

    /// Makes a chain from certificates in DER, leaf first.
    ///
    /// # Errors
    /// [`CertificateError`] if the chain does not have 1 to 16 certificates, or if a certificate does not parse or has
    /// bytes after its end.
    pub fn from_der(ders: Vec<Vec<u8>>) -> Result<Self, CertificateError> {
        if ders.len() > Self::MAX_LENGTH {
            return Err(CertificateError::TooLong { length: ders.len() });
        }
        for (at, der) in ders.iter().enumerate().skip(1) {
            parse(at, der)?;
        }
        let leaf = parse(0, ders.first().ok_or(CertificateError::Empty)?)?;
        let thumbprint = Thumbprint::of_der(ders.first().map_or(&[], Vec::as_slice));
        let facts = Self {
            thumbprint,
            not_before: moment(leaf.validity().not_before),
            not_after: moment(leaf.validity().not_after),
            subject: leaf.subject().to_string(),
            issuer: leaf.issuer().to_string(),
            key_algorithm: KeyAlgorithm::of(leaf.public_key()),
            public_key_info: leaf.public_key().raw.to_vec(),
            // The encoded number of version 1 is 0.
            version: leaf.version().0.saturating_add(1),
            ders: Vec::new(),
        };
        Ok(Self { ders, ..facts })
    }

    /// The leaf, in DER.
    pub fn leaf_der(&self) -> &[u8] {
        // `from_der` refuses an empty chain, so there is always a leaf.
        self.ders.first().map_or(&[], Vec::as_slice)
    }

    /// All certificates, leaf first.
    pub fn ders(&self) -> &[Vec<u8>] {
        &self.ders
    }

    /// The leaf's thumbprint.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// SHA-1 of the leaf: `x5t` (RFC 7515, section 4.1.7). Older servers look up the certificate by this hash. No
    /// security decision depends on it.
    pub fn sha1(&self) -> [u8; 20] {
        let mut sha1 = [0; 20];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, self.leaf_der());
        sha1.copy_from_slice(digest.as_ref());
        sha1
    }

    /// The start of the leaf's validity.
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// The end of the leaf's validity.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// The leaf's subject, such as `CN=app, O=Contoso`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The leaf's issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The kind of the leaf's key.
    pub fn key_algorithm(&self) -> KeyAlgorithm {
        self.key_algorithm
    }

    /// The leaf's `SubjectPublicKeyInfo`, in DER.
    pub fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }

    /// The leaf's version of X.509. It is 3 for every certificate with extensions.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the purposes that the leaf's extensions name.
    pub fn usage(&self) -> CertificateUsage {
        // `from_der` has parsed the same bytes, so the call does not fail.
        parse(0, self.leaf_der()).map(|leaf| CertificateUsage::of(&leaf)).unwrap_or_default()
    }

    /// Whether the leaf's key is RSA.
    pub fn is_rsa(&self) -> bool {
        matches!(self.key_algorithm, KeyAlgorithm::Rsa { .. })
    }
}

fn parse(at: usize, der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertificateError::TrailingBytes { at }),
        Err(_) => Err(CertificateError::Malformed { at }),
    }
}

/// Converts a time. Times before 1970 become 1970, which does not change a comparison with the current time.
fn moment(time: ASN1Time) -> UnixTime {
    UnixTime::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// The reason why bytes are not a certificate chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum CertificateError {
    /// The chain contains no certificate.
    #[error("the chain contains no certificate")]
    #[strum(props(code = "certificate_missing"))]
    Empty,
    /// The chain has more than [`CertificateChain::MAX_LENGTH`] certificates.
    #[error(
        "the chain has {length} certificates; at most {} certificates are accepted",
        CertificateChain::MAX_LENGTH
    )]
    #[strum(props(fix = "put only the leaf and its issuers into the file, at most 16 certificates"))]
    TooLong {
        /// The number of certificates.
        length: usize,
    },
    /// A certificate is not X.509.
    #[error("certificate {} of the chain is not X.509", .at + 1)]
    Malformed {
        /// The position of the certificate in the chain, from 0.
        at: usize,
    },
    /// A certificate has bytes after its end.
    #[error("certificate {} of the chain is followed by extra bytes", .at + 1)]
    TrailingBytes {
        /// The position of the certificate in the chain, from 0.
        at: usize,
    },
}

impl CertificateError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or("certificate_invalid")
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix")
            .unwrap_or("export the certificate again, followed by the certificates of its issuers")
    }
}
