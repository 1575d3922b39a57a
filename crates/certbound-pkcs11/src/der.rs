//! Public keys and ECDSA signatures as tokens return them.

use certbound_core::certificate::Curve;
use certbound_core::key_encoding;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode as _, Encode as _};

/// Returns the curve of a key's `CKA_EC_PARAMS`, which is DER of the name of the curve.
pub(crate) fn curve_of_parameters(der: &[u8]) -> Option<Curve> {
    let name: ObjectIdentifier = ObjectIdentifier::from_der(der).ok()?;
    Curve::of_oid(&name.to_string())
}

/// Returns the value of `CKA_EC_PARAMS` of a curve.
pub(crate) fn curve_parameters(curve: Curve) -> Vec<u8> {
    let name: Option<ObjectIdentifier> = ObjectIdentifier::new(curve.oid()).ok();
    name.and_then(|name| name.to_der().ok()).unwrap_or_default()
}

/// Returns the `SubjectPublicKeyInfo` of an EC key. `point` is `CKA_EC_POINT`: DER of an octet string. Some tokens
/// return the bare point. Both forms begin with 4, and a bare point can look like DER, so the function compares the
/// length first. The result is `None` if the curve is not known.
pub(crate) fn ec_public_key(parameters: &[u8], point: &[u8]) -> Option<Vec<u8>> {
    let curve = curve_of_parameters(parameters)?;
    let bare = match point.len() == 1 + 2 * curve.coordinate_bytes() {
        true => point,
        false => <&OctetStringRef>::from_der(point).map_or(point, OctetStringRef::as_bytes),
    };
    key_encoding::ec_public_key(curve, bare)
}

/// Turns the signature of a token, two numbers of equal length, into DER of an `Ecdsa-Sig-Value` (RFC 3279, section
/// 2.2.3).
pub(crate) fn ecdsa_signature(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.is_empty() || !raw.len().is_multiple_of(2) {
        return None;
    }
    let (r, s) = raw.split_at(raw.len() / 2);
    key_encoding::ecdsa_signature(r, s)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl asn1parse` reads the result as SEQUENCE { INTEGER 1, INTEGER 128 }.
    #[test]
    fn a_signature_has_no_leading_zeros_and_no_negative_numbers() {
        assert_eq!(ecdsa_signature(&[0, 1, 0, 128]), Some(vec![0x30, 7, 2, 1, 1, 2, 2, 0, 128]));
        assert_eq!(ecdsa_signature(&[1, 2, 3]), None);
        assert_eq!(ecdsa_signature(&[]), None);
    }

    /// If the second byte is 63, it is the length of an octet string that fills the rest. So this point parses as DER
    /// too.
    #[test]
    fn a_bare_point_is_told_by_its_length() {
        let parameters = curve_parameters(Curve::P256);
        for second in [63, 7] {
            let mut bare = vec![5; 65];
            (bare[0], bare[1]) = (4, second);
            let expected = ec_public_key(&parameters, &[&[4, 65], &*bare].concat());
            assert!(expected.as_ref().unwrap().ends_with(&bare));
            assert_eq!(ec_public_key(&parameters, &bare), expected);
        }
    }

    #[test]
    fn a_curve_is_its_own_parameters() {
        for (curve, der) in [
            (Curve::P256, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7][..]),
            (Curve::P384, &[6, 5, 0x2b, 0x81, 4, 0, 0x22]),
            (Curve::P521, &[6, 5, 0x2b, 0x81, 4, 0, 0x23]),
        ] {
            assert_eq!(curve_parameters(curve), der);
            assert_eq!(curve_of_parameters(der), Some(curve));
        }
        assert_eq!(curve_of_parameters(&[6, 5, 0x2b, 0x81, 4, 0, 0x0a]), None, "secp256k1");
        assert_eq!(curve_of_parameters(&[0x13, 1, 65]), None);
    }
}
