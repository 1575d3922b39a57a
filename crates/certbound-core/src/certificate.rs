//! The public half of a certificate, and its thumbprint.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use x509_parser::prelude::*;
use x509_parser::public_key::PublicKey as SubjectKey;

use crate::time::UnixTime;

/// `x5t#S256`: the SHA-256 of a certificate's whole DER (RFC 8705, section 3.1).
///
/// It changes whenever a byte of the certificate does: a renewed certificate with the same key is another binding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// As it stands in a token: base64url without padding, 43 characters.
    pub fn x5t_s256(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// In lower-case hexadecimal, as openssl prints it but for the colons.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a token's `x5t#S256` is this thumbprint, in constant time.
    ///
    /// The texts are compared, never decoded: a second spelling of the same bytes is not the same claim.
    pub fn matches_claim(&self, claim: &str) -> bool {
        let mut own = [0; 43];
        // 32 bytes take 43 characters.
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

/// The kind of key a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// RSA, with the size of its modulus.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// An elliptic curve.
    Ec,
    /// Anything else.
    Other,
}

impl KeyAlgorithm {
    /// The kind of a public key, DER of a `SubjectPublicKeyInfo`; none for what is no public key, or has bytes behind it.
    pub fn of_public_key(der: &[u8]) -> Option<Self> {
        match SubjectPublicKeyInfo::from_der(der) {
            Ok(([], key)) => Some(key_algorithm(&key)),
            _ => None,
        }
    }
}

/// A certificate with its issuers, leaf first, each in DER.
///
/// The leaf was parsed; nothing was verified: neither signatures nor dates nor purpose.
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
}

impl CertificateChain {
    /// The most certificates a chain may have.
    pub const MAX_LENGTH: usize = 16;

    /// Takes a chain, leaf first.
    ///
    /// # Errors
    /// [`CertificateError`] for an empty or overlong chain, or one in which a certificate does not parse or has bytes
    /// behind it.
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
            key_algorithm: key_algorithm(leaf.public_key()),
            public_key_info: leaf.public_key().raw.to_vec(),
            ders: Vec::new(),
        };
        Ok(Self { ders, ..facts })
    }

    /// The leaf, in DER.
    pub fn leaf_der(&self) -> &[u8] {
        // A chain is never empty.
        self.ders.first().map_or(&[], Vec::as_slice)
    }

    /// All of them, leaf first.
    pub fn ders(&self) -> &[Vec<u8>] {
        &self.ders
    }

    /// The leaf's thumbprint.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// SHA-1 of the leaf: `x5t` (RFC 7515, section 4.1.7), the name of a certificate in a header that older servers read.
    /// It names, it does not protect; nothing is decided by it.
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

    /// The leaf's kind of key.
    pub fn key_algorithm(&self) -> KeyAlgorithm {
        self.key_algorithm
    }

    /// The leaf's `SubjectPublicKeyInfo`, in DER.
    pub fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
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

/// Times before 1970 become 1970: such a certificate was valid or over long ago, and stays so.
fn moment(time: ASN1Time) -> UnixTime {
    UnixTime::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> KeyAlgorithm {
    match key.parsed() {
        Ok(SubjectKey::RSA(key)) => KeyAlgorithm::Rsa { bits: key.key_size() },
        Ok(SubjectKey::EC(_)) => KeyAlgorithm::Ec,
        _ => KeyAlgorithm::Other,
    }
}

/// Why bytes are not a certificate chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// No certificate at all.
    #[error("there is no certificate")]
    Empty,
    /// More than [`CertificateChain::MAX_LENGTH`].
    #[error("the chain has {length} certificates; at most {} are accepted", CertificateChain::MAX_LENGTH)]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// Not X.509.
    #[error("certificate {} of the chain is not X.509", .at + 1)]
    Malformed {
        /// Its place, from 0.
        at: usize,
    },
    /// Bytes behind the certificate.
    #[error("certificate {} of the chain has bytes behind its end", .at + 1)]
    TrailingBytes {
        /// Its place, from 0.
        at: usize,
    },
}

impl CertificateError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "certificate_missing",
            _ => "certificate_invalid",
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        "export the certificate again, with its issuers behind it"
    }
}
