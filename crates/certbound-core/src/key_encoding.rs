//! DER of public keys and of ECDSA signatures, for keys in devices. Devices return numbers and points.

use x509_cert::der::asn1::{AnyRef, BitStringRef, Null, ObjectIdentifier, UintRef};
use x509_cert::der::{Encode as _, Tag};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::certificate::Curve;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// Returns the `SubjectPublicKeyInfo` of an RSA key (RFC 3279, section 2.3.1). Both numbers are big-endian. The result
/// is `None` if a number is too long for DER.
pub fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let key = two_numbers(modulus, exponent)?;
    public_key(RSA, AnyRef::from(Null), &key)
}

/// Returns the `SubjectPublicKeyInfo` of an EC key (RFC 5480, section 2). `point` is an uncompressed point. The
/// function does not check it.
pub fn ec_public_key(curve: Curve, point: &[u8]) -> Option<Vec<u8>> {
    let name: ObjectIdentifier = ObjectIdentifier::new(curve.oid()).ok()?;
    public_key(EC, AnyRef::from(&name), point)
}

/// Returns DER of an `Ecdsa-Sig-Value` (RFC 3279, section 2.2.3). Both numbers are big-endian, and can have leading
/// zeros.
pub fn ecdsa_signature(r: &[u8], s: &[u8]) -> Option<Vec<u8>> {
    two_numbers(r, s)
}

fn public_key(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Option<Vec<u8>> {
    let algorithm = AlgorithmIdentifier { oid, parameters: Some(parameters) };
    SubjectPublicKeyInfo { algorithm, subject_public_key: BitStringRef::from_bytes(key).ok()? }.to_der().ok()
}

fn two_numbers(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let numbers = [UintRef::new(one).ok()?.to_der().ok()?, UintRef::new(other).ok()?.to_der().ok()?].concat();
    AnyRef::new(Tag::Sequence, &numbers).ok()?.to_der().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl asn1parse` reads the result as SEQUENCE { INTEGER 1, INTEGER 128 }.
    #[test]
    fn a_signature_has_no_leading_zeros_and_no_negative_numbers() {
        assert_eq!(ecdsa_signature(&[0, 1], &[0, 128]), Some(vec![0x30, 7, 2, 1, 1, 2, 2, 0, 128]));
    }
}
