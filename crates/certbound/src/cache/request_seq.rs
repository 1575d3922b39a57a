//! The order in which requests to the token service started.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of a request. Of two tokens, the token of the later request is newer. The clock and the order of the
/// responses do not matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestSeq {
    pub(crate) serial: u32,
    /// A random number by which the times of refreshes are distributed.
    pub(crate) random: u64,
}

impl RequestSeq {
    /// Returns a number for a token from a store. The token of every request of this process is newer, even if the
    /// request started earlier.
    pub(crate) fn of_store(self) -> Self {
        // The numbers of two running requests differ by less than 2^30. The comparison wraps around at 2^31.
        Self { serial: self.serial.wrapping_sub(1 << 30), ..self }
    }
}

/// The counter of requests.
pub(super) struct Requests {
    begun: AtomicU32,
    seed: foldhash::quality::FixedState,
}

impl Requests {
    /// Returns a counter whose random numbers depend only on `seed`. By default the seed is random.
    pub(super) fn new(seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(|| std::hash::RandomState::new().hash_one(0));
        Self { begun: AtomicU32::new(0), seed: foldhash::quality::FixedState::with_seed(seed) }
    }

    /// Returns the number of the next request. The numbers repeat after 2^32 requests. The tokens of the first requests
    /// have expired by then.
    pub(super) fn begin(&self) -> RequestSeq {
        let serial = self.begun.fetch_add(1, Ordering::Relaxed);
        RequestSeq { serial, random: self.seed.hash_one(serial) }
    }
}
