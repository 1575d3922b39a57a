//! The public key of a certificate request, as rcgen needs it. rcgen's own parser of keys would add a second version of a
//! dependency.

use std::borrow::Cow;

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm,
};
use x509_parser::oid_registry::OID_NIST_EC_P384;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::error::EmulatorError;

/// A public key whose private half is elsewhere: RSA, or an elliptic curve (P-256 or P-384).
pub(super) struct RequestedKey<'a> {
    bytes: Cow<'a, [u8]>,
    algorithm: &'static SignatureAlgorithm,
}

impl<'a> RequestedKey<'a> {
    /// Reads a key from DER of a `SubjectPublicKeyInfo`.
    pub(super) fn from_der(der: &'a [u8]) -> Result<Self, EmulatorError> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(EmulatorError::key_material)?;
        let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        let algorithm = match info.parsed() {
            Ok(PublicKey::EC(_)) if curve == Some(OID_NIST_EC_P384) => &PKCS_ECDSA_P384_SHA384,
            Ok(PublicKey::EC(_)) => &PKCS_ECDSA_P256_SHA256,
            _ => &PKCS_RSA_SHA256,
        };
        Ok(Self { bytes: info.subject_public_key.data, algorithm })
    }
}

impl PublicKeyData for RequestedKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}
