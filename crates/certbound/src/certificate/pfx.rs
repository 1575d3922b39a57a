//! Reads a chain and its key from PKCS#12 (RFC 7292). No other module uses its parser.

use certbound_core::cause::Cause;
use certbound_core::certificate::CertificateChain;
use certbound_core::secret::Secret;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as ParserError;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::belongs;
use super::pem::is_der_certificate;
use crate::crypto::provider;
use crate::error::BindingCertificateError;

/// Returns the chain, which starts with the certificate of the key, and the key.
pub(super) fn read(
    pfx: &[u8],
    password: Option<&Secret>,
) -> Result<(Vec<Vec<u8>>, PrivateKeyDer<'static>), BindingCertificateError> {
    let archive = Pkcs12Archive::from_pkcs12(pfx, password.map_or("", Secret::expose));
    let archive = archive.map_err(|error| match is_der_certificate(pfx) {
        true => BindingCertificateError::DerInsteadOfPem,
        false => explain(error, password.is_some()),
    })?;
    let count = archive.keys.len();
    let key = match archive.keys.as_slice() {
        [] => return Err(BindingCertificateError::NoPrivateKey),
        [bag] => Zeroizing::new(bag.key.as_der().to_vec()),
        _ => return Err(BindingCertificateError::SeveralPrivateKeys { count }),
    };
    let certificates: Vec<Certificate<'_>> = archive
        .certs
        .iter()
        .map(|bag| Certificate {
            der: bag.cert.as_der(),
            subject: bag.cert.subject(),
            issuer: bag.cert.issuer(),
        })
        .collect();
    if certificates.is_empty() {
        return Err(BindingCertificateError::NoCertificate);
    }
    let leaf = leaf_of(&key, &certificates)?;
    Ok((order(leaf, &certificates), pkcs8(&key)))
}

#[derive(Clone, Copy)]
struct Certificate<'a> {
    der: &'a [u8],
    subject: &'a str,
    issuer: &'a str,
}

/// Finds the leaf by its key and not by attributes, because different programs set different attributes in a PFX.
fn leaf_of<'a>(
    key: &[u8],
    certificates: &[Certificate<'a>],
) -> Result<Certificate<'a>, BindingCertificateError> {
    let signing_key = provider()
        .key_provider
        .load_private_key(pkcs8(key))
        .map_err(|_| BindingCertificateError::KeyUnusable)?;
    let belongs = |certificate: &&Certificate<'_>| {
        CertificateChain::from_der(vec![certificate.der.to_vec()])
            .is_ok_and(|chain| belongs(&*signing_key, &chain))
    };
    certificates.iter().find(belongs).copied().ok_or(BindingCertificateError::KeyMismatch)
}

fn order(leaf: Certificate<'_>, certificates: &[Certificate<'_>]) -> Vec<Vec<u8>> {
    let mut chain = vec![leaf];
    while let Some(issuer) = certificates.iter().find(|candidate| {
        chain.last().is_some_and(|last| last.issuer == candidate.subject)
            && chain.iter().all(|known| known.der != candidate.der)
    }) {
        chain.push(*issuer);
    }
    chain.into_iter().map(|certificate| certificate.der.to_vec()).collect()
}

fn pkcs8(der: &[u8]) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.to_vec()))
}

fn explain(error: ParserError, has_password: bool) -> BindingCertificateError {
    match error {
        // After a wrong password the MAC is wrong. If the file has no MAC, the padding is wrong.
        ParserError::MacError(_) | ParserError::UnpadError | ParserError::Pkcs5Error(_) => match has_password
        {
            true => BindingCertificateError::WrongPassword,
            false => BindingCertificateError::EncryptedKey,
        },
        other => BindingCertificateError::BrokenPfx { reason: Cause::new(other) },
    }
}
