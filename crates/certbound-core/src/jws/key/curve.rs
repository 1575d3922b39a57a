//! The curves of ECDSA.

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm};

use crate::jws::Algorithm;

/// A curve of ECDSA. Each curve has one algorithm (RFC 7518, section 3.4).
pub(super) struct Curve {
    /// The name of the curve: `crv` of a JWK (RFC 7518, section 6.2.1.1).
    pub(super) name: &'static str,
    pub(super) coordinate_bytes: usize,
    pub(super) algorithm: Algorithm,
    pub(super) verification: &'static EcdsaVerificationAlgorithm,
}

pub(super) static P256: Curve = Curve {
    name: "P-256",
    coordinate_bytes: 32,
    algorithm: Algorithm::Es256,
    verification: &signature::ECDSA_P256_SHA256_FIXED,
};
static P384: Curve = Curve {
    name: "P-384",
    coordinate_bytes: 48,
    algorithm: Algorithm::Es384,
    verification: &signature::ECDSA_P384_SHA384_FIXED,
};
static P521: Curve = Curve {
    name: "P-521",
    coordinate_bytes: 66,
    algorithm: Algorithm::Es512,
    verification: &signature::ECDSA_P521_SHA512_FIXED,
};

impl Curve {
    pub(super) fn by_name(name: &str) -> Option<&'static Self> {
        [&P256, &P384, &P521].into_iter().find(|curve| curve.name == name)
    }
}
