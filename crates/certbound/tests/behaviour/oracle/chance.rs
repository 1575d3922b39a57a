//! Random numbers that can be repeated.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A generator of random numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        // The seed is mixed first. Otherwise neighbouring seeds would have the same numbers, shifted by one.
        Self(mixed(mixed(seed ^ 0x5851_f42d_4c95_7f2d)))
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(STEP);
        usize::try_from(mixed(self.0) >> 1).unwrap() % limit.max(1)
    }
}

fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
