//! CPU time, and ratios of measurements in one run.
//!
//! A time alone says little on a shared machine. Therefore each benchmark measures our code and a floor in alternating
//! rounds, and prints the median of the ratios.

use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

use super::report::{Gate, Row};

/// The number of rounds in which the floor and our code alternate.
pub(crate) const ROUNDS: usize = 5;

/// A clock of CPU time. It excludes the time of other processes on the machine.
pub(crate) struct Cpu(ClockId);

impl Cpu {
    /// The CPU time of the measuring thread. It excludes a server in another thread.
    pub(crate) const THREAD: Self = Self(ClockId::ThreadCPUTime);
    /// The CPU time of all threads, for work in several threads. The server is then another process.
    pub(crate) const PROCESS: Self = Self(ClockId::ProcessCPUTime);

    /// Returns the CPU time used so far.
    pub(crate) fn used(&self) -> Duration {
        let now = clock_gettime(self.0);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}

impl Measurement for Cpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        self.used()
    }

    fn end(&self, started: Duration) -> Duration {
        self.start().saturating_sub(started)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Removes the results of earlier runs. If a filter excludes rows, their old results would be read otherwise.
pub(crate) fn forget_earlier_results() {
    let _ = std::fs::remove_dir_all(results());
}

/// Returns a Criterion that measures CPU time and writes its results into the build's own directory.
pub(crate) fn criterion(cpu: Cpu) -> Criterion<Cpu> {
    Criterion::default()
        .with_measurement(cpu)
        .output_directory(&results())
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args()
}

/// Prints the ratio of each row to the floor, for each round.
///
/// Rows that this run did not measure, because of a filter, are left out.
pub(crate) fn print_ratios(group: &str, floor: &str, rows: &[(&str, Gate)]) {
    for (row, gate) in rows {
        let rounds: Vec<f64> = (0..ROUNDS)
            .filter_map(|round| Some(nanoseconds(group, row, round)? / nanoseconds(group, floor, round)?))
            .collect();
        let what = format!("{group}: {row}");
        Row { what: &what, against: floor, unit: "x", gate: *gate, rounds: &rounds }.report();
    }
}

/// Returns whether the command line selects a row that criterion does not know. Criterion checks its own rows itself.
pub(crate) fn is_wanted(row: &str) -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    let any = filters.peek().is_none();
    arguments.iter().any(|argument| argument == "--bench")
        && (any || filters.any(|filter| row.contains(filter.as_str())))
}

/// Returns the name of a row in one round.
pub(crate) fn in_round(row: &str, round: usize) -> String {
    format!("{row}, round {}", round + 1)
}

fn nanoseconds(group: &str, row: &str, round: usize) -> Option<f64> {
    let folder = results().join(file_name(group)).join(file_name(&in_round(row, round)));
    let text = std::fs::read_to_string(folder.join("new/estimates.json")).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

fn results() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion")
}

/// Returns the name that criterion uses in the file system. Our names contain no character that it replaces.
fn file_name(name: &str) -> &str {
    assert!(!name.contains(['/', '\\', ':', '?', '"', '*', '<', '>', '|', '^']), "{name}");
    name
}
