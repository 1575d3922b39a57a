//! The signature schemes of a key, by the mechanisms of its token.

use aws_lc_rs::digest;
use certbound::certificate::SignatureScheme;
use certbound_core::certificate::Curve;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};

use crate::der::ecdsa_signature;

/// The kind of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa,
    Ec(Curve),
}

impl KeyKind {
    /// Returns the schemes for which the token has a mechanism, in the order of preference. TLS 1.3 needs PSS.
    pub(crate) fn schemes(self, mechanisms: &[MechanismType]) -> Vec<SignatureScheme> {
        let all: &[SignatureScheme] = match self {
            Self::Rsa => &[SignatureScheme::RsaPssSha256, SignatureScheme::RsaPkcs1Sha256],
            Self::Ec(Curve::P256) => &[SignatureScheme::EcdsaP256Sha256],
            Self::Ec(Curve::P384) => &[SignatureScheme::EcdsaP384Sha384],
            Self::Ec(Curve::P521) => &[SignatureScheme::EcdsaP521Sha512],
            Self::Ec(_) => &[],
        };
        all.iter().copied().filter(|scheme| Way::of(*scheme, mechanisms).is_some()).collect()
    }
}

/// The way in which a token makes a signature. A token hashes the message itself, or gets its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    PssOfMessage,
    PssOfHash,
    Pkcs1OfMessage,
    Pkcs1OfHash,
    EcdsaOfSha256,
    EcdsaOfSha384,
    EcdsaOfSha512,
}

/// DER of a `DigestInfo` with SHA-256, without the hash (RFC 8017, section 9.2, note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0, 0x04,
    0x20,
];

impl Way {
    /// Returns the way for a scheme, if the token has a mechanism for it. A mechanism that hashes in the token is
    /// preferred.
    pub(crate) fn of(scheme: SignatureScheme, mechanisms: &[MechanismType]) -> Option<Self> {
        let ways: &[Self] = match scheme {
            SignatureScheme::RsaPssSha256 => &[Self::PssOfMessage, Self::PssOfHash],
            SignatureScheme::RsaPkcs1Sha256 => &[Self::Pkcs1OfMessage, Self::Pkcs1OfHash],
            SignatureScheme::EcdsaP256Sha256 => &[Self::EcdsaOfSha256],
            SignatureScheme::EcdsaP384Sha384 => &[Self::EcdsaOfSha384],
            SignatureScheme::EcdsaP521Sha512 => &[Self::EcdsaOfSha512],
            _ => &[],
        };
        ways.iter().copied().find(|way| mechanisms.contains(&way.mechanism().mechanism_type()))
    }

    pub(crate) fn mechanism(self) -> Mechanism<'static> {
        match self {
            Self::PssOfMessage => Mechanism::Sha256RsaPkcsPss(PSS),
            Self::PssOfHash => Mechanism::RsaPkcsPss(PSS),
            Self::Pkcs1OfMessage => Mechanism::Sha256RsaPkcs,
            Self::Pkcs1OfHash => Mechanism::RsaPkcs,
            Self::EcdsaOfSha256 | Self::EcdsaOfSha384 | Self::EcdsaOfSha512 => Mechanism::Ecdsa,
        }
    }

    /// Returns the input of the token for this message.
    pub(crate) fn input(self, message: &[u8]) -> Vec<u8> {
        let hash = |algorithm| digest::digest(algorithm, message).as_ref().to_vec();
        match self {
            Self::PssOfMessage | Self::Pkcs1OfMessage => message.to_vec(),
            Self::PssOfHash | Self::EcdsaOfSha256 => hash(&digest::SHA256),
            Self::Pkcs1OfHash => [&SHA256_INFO[..], &hash(&digest::SHA256)].concat(),
            Self::EcdsaOfSha384 => hash(&digest::SHA384),
            Self::EcdsaOfSha512 => hash(&digest::SHA512),
        }
    }

    /// Returns the signature in the form of its [`SignatureScheme`]: ECDSA in DER. The result is `None` if the token's
    /// signature has no valid form.
    pub(crate) fn output(self, signature: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::EcdsaOfSha256 | Self::EcdsaOfSha384 | Self::EcdsaOfSha512 => ecdsa_signature(&signature),
            _ => Some(signature),
        }
    }
}

/// SHA-256, MGF1 with SHA-256, and a salt of 32 bytes.
const PSS: PkcsPssParams = PkcsPssParams {
    hash_alg: MechanismType::SHA256,
    mgf: PkcsMgfType::MGF1_SHA256,
    s_len: cryptoki::types::Ulong::new(32),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_schemes_for_which_the_token_has_a_mechanism() {
        let of = |kind: KeyKind, mechanisms: &[MechanismType]| kind.schemes(mechanisms);
        let (pss, pkcs1) = (SignatureScheme::RsaPssSha256, SignatureScheme::RsaPkcs1Sha256);
        assert_eq!(of(KeyKind::Rsa, &[MechanismType::SHA256_RSA_PKCS_PSS]), [pss]);
        assert_eq!(of(KeyKind::Rsa, &[MechanismType::RSA_PKCS, MechanismType::RSA_PKCS_PSS]), [pss, pkcs1]);
        assert_eq!(of(KeyKind::Rsa, &[MechanismType::ECDSA]), []);
        assert_eq!(of(KeyKind::Ec(Curve::P384), &[MechanismType::ECDSA]), [SignatureScheme::EcdsaP384Sha384]);
        assert_eq!(of(KeyKind::Ec(Curve::P256), &[MechanismType::ECDSA_SHA256]), []);
    }

    #[test]
    fn a_mechanism_that_hashes_gets_the_message_itself() {
        let both = [MechanismType::RSA_PKCS, MechanismType::SHA256_RSA_PKCS];
        let way = |all: &[MechanismType]| Way::of(SignatureScheme::RsaPkcs1Sha256, all).unwrap();
        assert_eq!(way(&both).input(b"text"), b"text");
        let input = way(&[MechanismType::RSA_PKCS]).input(b"text");
        assert_eq!((input.len(), &input[..2]), (19 + 32, &[0x30, 0x31][..]));
    }
}
