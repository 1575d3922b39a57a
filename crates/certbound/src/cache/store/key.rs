//! The name of a token in a store.

use std::fmt;
use std::hash::{Hash as _, Hasher};

use aws_lc_rs::digest::{Context, SHA256};

use crate::cache::key::KeyRef;

/// The version of the name. Change the version together with the parts of a key, so that entries of older versions are
/// not found.
const VERSION: u32 = 2;

/// The name under which a store keeps one token. It is the SHA-256 of the facts that distinguish this token from other
/// tokens, so it does not reveal tenant, client or scope.
///
/// The name is the same in every process that uses the same version of this library. Other versions may not find the
/// entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey([u8; 32]);

impl StoreKey {
    /// Creates the name from the bytes in a store.
    pub fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// Returns the bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns a different name for the same token. Users that must not share tokens in one store pass different
    /// namespaces.
    #[must_use]
    pub fn within(&self, namespace: &[u8]) -> Self {
        let mut digest = Digest::new();
        digest.write(&self.0);
        digest.write(namespace);
        digest.end()
    }

    pub(crate) fn of(key: &KeyRef<'_>) -> Self {
        let mut digest = Digest::new();
        digest.write_u32(VERSION);
        key.each_part(&mut digest);
        digest.end()
    }
}

/// Writes the name in lower-case hexadecimal.
impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKey({self})")
    }
}

/// The SHA-256 of the bytes that `Hash` writes. By the contract of `Hash` these bytes are never the beginning of
/// another value's bytes. Numbers are written in the same way on every machine.
struct Digest(Context);

impl Digest {
    fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    fn end(self) -> StoreKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        StoreKey(bytes)
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn write_u16(&mut self, number: u16) {
        self.write(&number.to_le_bytes());
    }

    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    /// This function is never called, because `end` returns the whole hash.
    fn finish(&self) -> u64 {
        0
    }
}

impl KeyRef<'_> {
    /// Hashes every part of the name completely. The `Hash` of a [`KeyRef`] uses only a part of the thumbprint.
    fn each_part(&self, state: &mut Digest) {
        self.head.client.parts_shown().hash(state);
        self.head.kind.hash(state);
        self.thumbprint.hash(state);
        self.head.scope.as_str().hash(state);
        self.extras.hash(state);
        // The bytes above are never the beginning of another key's bytes, so additional bytes give a different name.
        if self.head.client.demands_observed() {
            state.write(b"observed");
        }
    }
}
