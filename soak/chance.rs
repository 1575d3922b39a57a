//! Random numbers that follow from a seed (SplitMix64).

use std::ops::Range;
use std::time::Duration;

/// A sequence of random numbers.
pub(crate) struct Chance(u64);

impl Chance {
    /// Returns the sequence of a part of the soak. Parts with different numbers have different sequences.
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        let mut chance = Self(seed ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03));
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number in the range, which must not be empty.
    pub(crate) fn among(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// Returns true in one of `many` cases.
    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.among(0..many) == 0
    }

    /// Returns one element of a list that is not empty.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let at = self.among(0..list.len() as u64);
        &list[usize::try_from(at).unwrap_or(0)]
    }

    /// Returns a duration whose number of milliseconds is in the range.
    pub(crate) fn milliseconds(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.among(range))
    }
}
