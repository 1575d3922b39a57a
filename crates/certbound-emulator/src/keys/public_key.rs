//! A public key for a new certificate, in the form that rcgen needs. rcgen has a parser of keys only with a feature
//! that this workspace does not use.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use certbound_core::certificate::{Curve, KeyAlgorithm};
use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::error::EmulatorError;

/// The sizes of an RSA key that can be used: the servers verify only signatures of these sizes.
pub(crate) const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// A public key whose private key is elsewhere: RSA, or an elliptic curve (P-256, P-384 or P-521).
pub(super) struct RequestedKey<'a> {
    bytes: Cow<'a, [u8]>,
    algorithm: &'static SignatureAlgorithm,
}

impl<'a> RequestedKey<'a> {
    /// Reads a key from DER of a `SubjectPublicKeyInfo`.
    pub(super) fn from_der(der: &'a [u8]) -> Result<Self, EmulatorError> {
        let algorithm = match KeyAlgorithm::of_public_key(der) {
            Some(KeyAlgorithm::Rsa { bits }) if RSA_BITS.contains(&bits) => &PKCS_RSA_SHA256,
            Some(KeyAlgorithm::Ec { curve: Some(Curve::P256) }) => &PKCS_ECDSA_P256_SHA256,
            Some(KeyAlgorithm::Ec { curve: Some(Curve::P384) }) => &PKCS_ECDSA_P384_SHA384,
            Some(KeyAlgorithm::Ec { curve: Some(Curve::P521) }) => &PKCS_ECDSA_P521_SHA512,
            other => return Err(unusable(other)),
        };
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(EmulatorError::key_material)?;
        Ok(Self { bytes: info.subject_public_key.data, algorithm })
    }
}

/// Returns the error of a key for which no certificate can be issued.
fn unusable(kind: Option<KeyAlgorithm>) -> EmulatorError {
    let found = match kind {
        Some(KeyAlgorithm::Rsa { bits }) => format!("RSA with {bits} bits"),
        Some(KeyAlgorithm::Ec { .. }) => "EC on a curve that is not supported".to_owned(),
        Some(_) => "of an algorithm that is not supported".to_owned(),
        None => "not a SubjectPublicKeyInfo in DER".to_owned(),
    };
    EmulatorError::key_material(format!(
        "the public key is {found}; use RSA with {} to {} bits, or EC on P-256, P-384 or P-521",
        RSA_BITS.start(),
        RSA_BITS.end()
    ))
}

impl PublicKeyData for RequestedKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use certbound_core::key_encoding;
    use rcgen::{KeyPair, PKCS_ED25519};
    use x509_cert::der::asn1::{Any, ObjectIdentifier};
    use x509_cert::der::{Decode as _, Encode as _};
    use x509_cert::spki::SubjectPublicKeyInfoOwned;

    use super::*;
    use crate::keys::ca::{CertificateAuthority, IssueOptions};
    use crate::keys::seed::KeySource;

    /// Returns an RSA key with this size. No private key is known for it.
    fn rsa(bits: usize) -> Vec<u8> {
        let modulus = vec![0xff; bits / 8];
        key_encoding::rsa_public_key(&modulus, &[1, 0, 1]).unwrap()
    }

    fn generated(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        KeyPair::generate_for(algorithm).unwrap().subject_public_key_info()
    }

    /// Returns a key on P-256 whose parameters are replaced.
    fn ec(parameters: Option<Any>) -> Vec<u8> {
        let mut key = SubjectPublicKeyInfoOwned::from_der(&generated(&PKCS_ECDSA_P256_SHA256)).unwrap();
        key.algorithm.parameters = parameters;
        key.to_der().unwrap()
    }

    #[test]
    fn a_certificate_has_exactly_the_requested_key() {
        let now = certbound_core::time::UnixTime::from_secs(1_785_000_000);
        let authority = CertificateAuthority::new(&[], now, &mut KeySource::Chance).unwrap();
        for key in [
            rsa(2048),
            rsa(8192),
            generated(&PKCS_ECDSA_P256_SHA256),
            generated(&PKCS_ECDSA_P384_SHA384),
            generated(&PKCS_ECDSA_P521_SHA512),
        ] {
            let chain = authority.issue_for(&IssueOptions::new("a"), &key).unwrap();
            let chain = certbound_core::certificate::CertificateChain::from_der(chain).unwrap();
            assert_eq!(chain.public_key_info(), key);
        }
    }

    #[test]
    fn a_key_that_no_server_accepts_is_refused_with_its_kind() {
        let secp256k1 = Any::encode_from(&ObjectIdentifier::new_unwrap("1.3.132.0.10")).unwrap();
        for (key, expected) in [
            (rsa(1024), "RSA with 1024 bits;"),
            (rsa(2040), "RSA with 2040 bits;"),
            (rsa(8200), "RSA with 8200 bits;"),
            (ec(Some(secp256k1)), "EC on a curve that is not supported;"),
            (ec(None), "EC on a curve that is not supported;"),
            (generated(&PKCS_ED25519), "of an algorithm that is not supported;"),
            ([rsa(2048), vec![0]].concat(), "not a SubjectPublicKeyInfo in DER;"),
            (Vec::new(), "not a SubjectPublicKeyInfo in DER;"),
        ] {
            let error = RequestedKey::from_der(&key).map(drop).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(
                error.ends_with("use RSA with 2048 to 8192 bits, or EC on P-256, P-384 or P-521"),
                "{error}"
            );
        }
    }
}
