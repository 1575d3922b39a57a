//! The kinds of keys that a TPM generates.

/// The kind of a key to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySpec {
    /// RSA with 2048 bits, which every TPM supports. A managed identity and a signed assertion need RSA.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits, which few TPMs support.
    Rsa4096,
    /// EC on P-256, which every TPM supports.
    P256,
    /// EC on P-384.
    P384,
}
