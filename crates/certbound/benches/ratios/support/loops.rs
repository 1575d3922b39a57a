//! Loops whose single turn is too short to be measured. The whole loop runs between two readings of the CPU clock.

use super::{Cpu, ROUNDS};

/// Returns the CPU time of one turn of `work`, in nanoseconds. The first tenth of the turns is for warming up and is
/// not measured.
pub(crate) fn each(turns: u32, mut work: impl FnMut()) -> f64 {
    (0..turns / 10).for_each(|_| work());
    let before = Cpu::THREAD.used();
    (0..turns).for_each(|_| work());
    (Cpu::THREAD.used() - before).as_secs_f64() * 1e9 / f64::from(turns)
}

/// Returns the ratios of `ours` to `floor`, measured in alternating rounds.
pub(crate) fn alternating(mut floor: impl FnMut() -> f64, mut ours: impl FnMut() -> f64) -> Vec<f64> {
    (0..ROUNDS).map(|_| floor()).map(|floor| ours() / floor).collect()
}
