//! Reads a chain and its key from PEM text (RFC 7468).

use certbound_core::certificate::CertificateChain;
use certbound_core::secret::Secret;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject as _, SectionKind};
use zeroize::Zeroizing;

use super::encrypted;
use crate::error::BindingCertificateError;

/// Returns whether the bytes are read as PEM and not as PFX.
#[cfg(feature = "pfx")]
pub(super) fn looks_like_pem(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"-----BEGIN ";
    // A PFX begins with a DER SEQUENCE. All other bytes are read as PEM, because the errors of the PEM reader are more
    // precise.
    bytes.first() != Some(&0x30) || bytes.windows(MARK.len()).any(|window| window == MARK)
}

/// Returns every certificate of the text, in the order of the text.
pub(super) fn chain(pem: &[u8]) -> Result<Vec<Vec<u8>>, BindingCertificateError> {
    let mut chain = Vec::new();
    for section in sections(pem)? {
        let (kind, der) = section?;
        if kind == SectionKind::Certificate {
            chain.push(der.to_vec());
        }
    }
    if chain.is_empty() { Err(without(pem, BindingCertificateError::NoCertificate)) } else { Ok(chain) }
}

/// Returns the private key of the text. The password is for an encrypted key (PKCS #8).
pub(super) fn key(
    pem: &[u8],
    password: Option<&Secret>,
) -> Result<PrivateKeyDer<'static>, BindingCertificateError> {
    let sections = sections(pem)?;
    let mut keys = Vec::new();
    // The PEM reader skips encrypted keys, so this function reads the encrypted keys.
    for encrypted in encrypted::sections(pem)? {
        keys.push(encrypted::open(&encrypted, password)?);
    }
    for section in sections {
        let (kind, der) = section?;
        keys.extend(PrivateKeyDer::from_pem(kind, der.to_vec()));
    }
    let count = keys.len();
    match keys.pop() {
        None => Err(without(pem, BindingCertificateError::NoPrivateKey)),
        Some(key) if count == 1 => Ok(key),
        Some(_) => Err(BindingCertificateError::SeveralPrivateKeys { count }),
    }
}

/// Returns the error of a text without a certificate or a key. The text may be a PFX, or a certificate in DER.
fn without(pem: &[u8], error: BindingCertificateError) -> BindingCertificateError {
    match pem {
        pfx if begins_as_pfx(pfx) => BindingCertificateError::PfxInsteadOfPem,
        der if is_der_certificate(der) => BindingCertificateError::DerInsteadOfPem,
        _ => error,
    }
}

/// Returns whether the bytes are one certificate in DER.
pub(super) fn is_der_certificate(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && CertificateChain::from_der(vec![bytes.to_vec()]).is_ok()
}

/// Returns whether the bytes begin with `PFX ::= SEQUENCE { version INTEGER {v3(3)}, .. }` (RFC 7292, section 4), in
/// DER or BER.
fn begins_as_pfx(bytes: &[u8]) -> bool {
    const VERSION: &[u8] = &[0x02, 0x01, 0x03];
    let Some((0x30, rest)) = bytes.split_first() else { return false };
    let content = match rest.split_first() {
        Some((length @ 0x81..=0x84, rest)) => rest.get(usize::from(length & 0x0f)..),
        Some((_, rest)) => Some(rest),
        None => None,
    };
    content.is_some_and(|content| content.starts_with(VERSION))
}

/// The mark of OpenSSL's own encryption of keys, which does not use PKCS #8. This encryption derives its key from the
/// password by MD5 with one iteration.
const TRADITIONAL: &[u8] = b"Proc-Type: 4,ENCRYPTED";

type Section = (SectionKind, Zeroizing<Vec<u8>>);

/// Returns the sections of the text. This function refuses a text with a key in OpenSSL's own encryption, because the
/// PEM reader would report the headers of that key as bad base64.
fn sections(
    pem: &[u8],
) -> Result<impl Iterator<Item = Result<Section, BindingCertificateError>> + '_, BindingCertificateError> {
    if pem.windows(TRADITIONAL.len()).any(|window| window == TRADITIONAL) {
        return Err(BindingCertificateError::EncryptedTraditionally);
    }
    // Some editors write a byte order mark before the first line. With this mark the reader would not find the first
    // section.
    let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
    let sections: pem::SliceIter<'_, (SectionKind, Vec<u8>)> = pem::SliceIter::new(pem);
    Ok(sections.map(|section| match section {
        Ok((kind, der)) => Ok((kind, Zeroizing::new(der))),
        Err(error) => Err(BindingCertificateError::BrokenPem { reason: reason(&error) }),
    }))
}

fn reason(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    }
}
