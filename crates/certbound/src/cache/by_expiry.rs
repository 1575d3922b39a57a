//! The order of tokens by their expiry.

use std::cmp::Ordering;

use crate::cache::Entry;

/// A token, ordered by its expiry and then by the number of its request. These numbers repeat after 2^32 requests, so
/// the address in memory is compared last.
pub(super) struct ByExpiry(pub(super) Entry);

impl ByExpiry {
    fn place(&self) -> (u64, u32, usize) {
        let life = self.0.expiry();
        (life.expires_at().as_secs(), life.serial(), self.0.address())
    }
}

impl Ord for ByExpiry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for ByExpiry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByExpiry {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for ByExpiry {}
