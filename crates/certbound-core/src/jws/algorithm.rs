//! The signature algorithms and their names.

use strum::VariantArray as _;

/// A signature algorithm (RFC 7518, section 3.1). `none` and the algorithms with a shared secret are not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "UPPERCASE")]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256. Entra signs its tokens with this algorithm.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
    Ps256,
    /// RSASSA-PSS with SHA-384 and a salt of 48 bytes.
    Ps384,
    /// RSASSA-PSS with SHA-512 and a salt of 64 bytes.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// EdDSA (RFC 8037). Ed25519 is the only supported curve.
    #[strum(serialize = "EdDSA")]
    EdDsa,
    /// EdDSA on Ed25519 under the name `Ed25519` (RFC 9864). The signatures are the same as with [`Algorithm::EdDsa`].
    #[strum(serialize = "Ed25519")]
    Ed25519,
}

impl Algorithm {
    /// All supported algorithms.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The name of the algorithm in a header's `alg`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns the algorithm of this name. Names are case-sensitive (RFC 7515, section 4.1.1).
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// Returns the names of the algorithms, joined by a comma and a space.
    pub fn names(algorithms: &[Self]) -> String {
        algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
    }
}
