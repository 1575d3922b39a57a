//! Loops that measure the time of one turn.
//!
//! The loops measure CPU time, which excludes other processes. They measure the whole process, because a machine's
//! client signs and generates keys in separate threads.

use std::sync::LazyLock;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

use crate::sheet::{Side, side};

/// The argument that shortens each loop. The figures of a shortened run show only that the benchmark works.
pub(crate) const QUICK: &str = "--quick";

/// The runtime of the benchmark. It has one thread.
pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().unwrap());

/// Returns `number`, or a twentieth of it in a quick run.
pub(crate) fn scaled(number: usize) -> usize {
    if std::env::args().any(|argument| argument == QUICK) { number.div_ceil(20) } else { number }
}

/// Measures the CPU time of one turn of `work`.
pub(crate) fn each<'a>(name: &'static str, turns: usize, mut work: impl AsyncFnMut() + 'a) -> Side<'a> {
    side(name, move || time_of_each(turns, &mut work))
}

/// Returns the CPU time of one turn of `work`, in nanoseconds. Before the measurement, the function runs a tenth of the
/// turns to warm up.
pub(crate) fn time_of_each(turns: usize, mut work: impl AsyncFnMut()) -> f64 {
    let turns = scaled(turns);
    RUNTIME.block_on(async {
        for _ in 0..turns / 10 {
            work().await;
        }
        let before = used(ClockId::ProcessCPUTime);
        for _ in 0..turns {
            work().await;
        }
        (used(ClockId::ProcessCPUTime) - before) / turns as f64
    })
}

/// Measures the CPU time of one turn of `work`. Each turn gets its own value. The preparation of the values is not
/// measured.
pub(crate) fn each_prepared<'a, T>(
    name: &'static str,
    turns: usize,
    mut prepare: impl FnMut() -> T + 'a,
    mut work: impl AsyncFnMut(T) + 'a,
) -> Side<'a> {
    side(name, move || {
        let mut prepared: Vec<T> = (0..scaled(turns) * 11 / 10).map(|_| prepare()).collect();
        time_of_each(turns, async || work(prepared.pop().unwrap()).await)
    })
}

/// Returns the CPU time that the process or the thread used so far, in nanoseconds.
pub(crate) fn used(clock: ClockId) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures CPU time")]
    let now = clock_gettime(clock);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}
