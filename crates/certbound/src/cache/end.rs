//! Tokens in the order in which they end.

use std::cmp::Ordering;

use crate::cache::Held;

/// A token by its end, and among those that end together by when it was asked for. That can be seen to be another one only
/// by where it is, once the numbers of requests begin anew.
pub(super) struct ByEnd(pub(super) Held);

impl ByEnd {
    fn place(&self) -> (u64, u32, usize) {
        let life = self.0.life();
        (life.expires_at().as_secs(), life.serial(), self.0.address())
    }
}

impl Ord for ByEnd {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for ByEnd {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByEnd {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for ByEnd {}
