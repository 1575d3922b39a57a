//! Tokens in the order in which they end.

use std::cmp::Ordering;

use crate::cache::Entry;

/// A token by its end, and among those that end together by when it was asked for. That can be seen to be another one only
/// by where it is, once the numbers of requests begin anew.
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
