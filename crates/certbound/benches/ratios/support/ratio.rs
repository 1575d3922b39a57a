//! CPU time, and ratios of what was measured in one run.
//!
//! A time alone says little on a shared machine. Each benchmark therefore measures ours and a floor in alternating
//! rounds, and prints the median of the rounds' ratios.

use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

use super::report::{Gate, Row};

/// Rounds in which floor and ours alternate.
pub(crate) const ROUNDS: usize = 5;

/// CPU time: what somebody else does on the machine is left out.
pub(crate) struct Cpu(ClockId);

impl Cpu {
    /// Of the measuring thread: what a server in another thread does is left out.
    pub(crate) const THREAD: Self = Self(ClockId::ThreadCPUTime);
    /// Of all threads, for what is done in several: the server is then another process.
    pub(crate) const PROCESS: Self = Self(ClockId::ProcessCPUTime);

    /// What was used until now.
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

/// Ratios are of one run: an earlier one's results would be read where a filter leaves rows out.
pub(crate) fn forget_earlier_results() {
    let _ = std::fs::remove_dir_all(results());
}

/// Criterion measuring CPU time, its results in the build's own directory.
pub(crate) fn criterion(cpu: Cpu) -> Criterion<Cpu> {
    Criterion::default()
        .with_measurement(cpu)
        .output_directory(&results())
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args()
}

/// Tells how many times the floor each row costs, round by round.
///
/// Rows that this run did not measure (a filter was given) are left out.
pub(crate) fn print_ratios(group: &str, floor: &str, rows: &[(&str, Gate)]) {
    for (row, gate) in rows {
        let rounds: Vec<f64> = (0..ROUNDS)
            .filter_map(|round| Some(nanoseconds(group, row, round)? / nanoseconds(group, floor, round)?))
            .collect();
        let what = format!("{group}: {row}");
        Row { what: &what, against: floor, unit: "x", gate: *gate, rounds: &rounds }.report();
    }
}

/// Whether the command line asks for a row that is not criterion's; its own it looks for itself.
pub(crate) fn is_wanted(row: &str) -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    let any = filters.peek().is_none();
    arguments.iter().any(|argument| argument == "--bench")
        && (any || filters.any(|filter| row.contains(filter.as_str())))
}

/// The name of a row in one round.
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

/// What criterion makes of a name in the file system. Ours hold nothing that it changes.
fn file_name(name: &str) -> &str {
    assert!(!name.contains(['/', '\\', ':', '?', '"', '*', '<', '>', '|', '^']), "{name}");
    name
}
