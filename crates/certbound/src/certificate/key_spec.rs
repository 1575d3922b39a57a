//! The kinds of keys that hardware generates.

/// The kind of a key to generate in hardware.
///
/// The crates `certbound-pkcs11` and `certbound-tpm` generate keys of these kinds. Not all hardware supports each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySpec {
    /// RSA with 2048 bits. The key providers of managed identities generate this kind of key.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits. Few TPMs support this kind of key.
    Rsa4096,
    /// EC on P-256. This kind of key cannot sign assertions for Bearer tokens.
    P256,
    /// EC on P-384. This kind of key cannot sign assertions for Bearer tokens.
    P384,
}
