//! The order in which requests to the token service began.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, Ordering};

/// A request that began. Of two tokens the one of the later request is the newer one, whatever the clock says and in
/// whatever order they come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestSeq {
    pub(crate) serial: u32,
    /// A number to spread refreshes by.
    pub(crate) random: u64,
}

impl RequestSeq {
    /// For a token that a store had: that of any request of ours is newer, also of one that began before it was found.
    pub(crate) fn of_store(self) -> Self {
        // Far from those under way, and from where the numbers begin anew.
        Self { serial: self.serial.wrapping_sub(1 << 30), ..self }
    }
}

/// Counts requests.
pub(super) struct Requests {
    begun: AtomicU32,
    seed: foldhash::quality::FixedState,
}

impl Requests {
    /// Whose random numbers follow from `seed`.
    pub(super) fn seeded(seed: u64) -> Self {
        Self { begun: AtomicU32::new(0), seed: foldhash::quality::FixedState::with_seed(seed) }
    }

    /// The same from its beginning.
    pub(super) fn anew(&self) -> Self {
        Self { begun: AtomicU32::new(0), seed: self.seed.clone() }
    }

    /// Nobody knows its numbers beforehand.
    pub(super) fn random() -> Self {
        Self::seeded(std::hash::RandomState::new().hash_one(0))
    }

    /// Begins anew after four thousand millions, long after the first of them are forgotten.
    pub(super) fn begin(&self) -> RequestSeq {
        let serial = self.begun.fetch_add(1, Ordering::Relaxed);
        RequestSeq { serial, random: self.seed.hash_one(serial) }
    }
}
