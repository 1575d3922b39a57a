//! The name of a token in a store.

use std::fmt;
use std::hash::{Hash as _, Hasher};

use aws_lc_rs::digest::{Context, SHA256};

use crate::cache::key::KeyRef;

/// Changes when what a key is made of does: an older version's entries are not found.
const VERSION: u32 = 2;

/// The name under which a store keeps one token: SHA-256 of everything that makes it another token than the rest, so that
/// it tells nothing of tenant, client or scope.
///
/// The same in every process of one version of this library; entries of another version may not be found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey([u8; 32]);

impl StoreKey {
    /// A name that a store has kept.
    pub fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The same token for somebody else: users of one store who must not meet give their names here.
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

/// In lower-case hexadecimal.
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

/// SHA-256 of what `Hash` writes, which by its contract is never the beginning of what another value writes. Numbers are
/// written alike on every machine.
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

    /// Not asked for: `end` has all of it.
    fn finish(&self) -> u64 {
        0
    }
}

impl KeyRef<'_> {
    /// Every part whole, where a map needs only as much as spreads well.
    fn each_part(&self, state: &mut Digest) {
        self.head.client.parts_shown().hash(state);
        self.head.kind.hash(state);
        self.thumbprint.hash(state);
        self.head.scope.as_str().hash(state);
        self.extras.hash(state);
        // The rest is never the beginning of another key's rest, so what follows it makes another name.
        if self.head.client.demands_observed() {
            state.write(b"observed");
        }
    }
}
