//! Loops too short for a harness around each turn: all of them between two readings of the CPU clock.

use super::{Cpu, ROUNDS};

/// CPU time of one turn of `work`, in nanoseconds; the first tenth of the turns warms up.
pub(crate) fn each(turns: u32, mut work: impl FnMut()) -> f64 {
    (0..turns / 10).for_each(|_| work());
    let before = Cpu::THREAD.used();
    (0..turns).for_each(|_| work());
    (Cpu::THREAD.used() - before).as_secs_f64() * 1e9 / f64::from(turns)
}

/// The ratios of `ours` to `floor`, measured in alternating rounds.
pub(crate) fn alternating(mut floor: impl FnMut() -> f64, mut ours: impl FnMut() -> f64) -> Vec<f64> {
    (0..ROUNDS).map(|_| floor()).map(|floor| ours() / floor).collect()
}
