//! The gates of certbound compared with other libraries.

use crate::report::{Gate, Row};
use crate::table::Table;
use crate::work::{AZURE, FLOOR, GO, NODE, OURS, PYTHON, Task};
use crate::{COMMAND, PEAK, START};

/// The least ratio of each library's result to that of certbound.
const DEARER: [(Task, &str, f64); 12] = [
    (Task::Hit, AZURE, 2.0),
    (Task::Hit, GO, 14.0),
    (Task::Hit, PYTHON, 200.0),
    (Task::Hit, NODE, 700.0),
    (Task::Many, AZURE, 3.0),
    (Task::Many, GO, 4_000.0),
    (Task::Many, PYTHON, 100.0),
    (Task::Many, NODE, 40_000.0),
    (Task::Pair, GO, 13.0),
    (Task::Pair, PYTHON, 25.0),
    (Task::Pair, NODE, 27.0),
    (Task::Cold, AZURE, 1.4),
];

/// The greatest ratio of certbound's result to that of another program.
const AT_MOST: [(&str, &str, &str, f64); 5] = [
    (COLD, OURS, FLOOR, 1.3),
    (PAIR, OURS, FLOOR, 1.25),
    (START, OURS, GO, 0.7),
    (START, COMMAND, GO, 0.7),
    (PEAK, OURS, GO, 0.8),
];
const COLD: &str = Task::Cold.text();
const PAIR: &str = Task::Pair.text();

/// The limit of the slowest hit, in nanoseconds.
const SLOWEST: f64 = 1e6;

pub(crate) fn report(table: &Table) {
    for (task, who, times) in DEARER {
        let rounds = table.ratios(task.text(), who, OURS);
        let (what, gate) = (format!("{}: {who}", task.text()), Gate::AtLeast(times));
        Row { what: &what, against: OURS, unit: "x", gate, rounds: &rounds }.report();
    }
    for (what, who, other, times) in AT_MOST {
        let rounds = table.ratios(what, who, other);
        let (what, gate) = (format!("{what}: {who}"), Gate::AtMost(times));
        Row { what: &what, against: other, unit: "x", gate, rounds: &rounds }.report();
    }
    let stall = Task::Stall.text();
    let of_limit = |who| table.rounds(stall, who).iter().map(|took| took / SLOWEST).collect::<Vec<_>>();
    let (ours, theirs) = (of_limit(OURS), of_limit(AZURE));
    let row = |who: &str, gate, rounds: &[f64]| {
        let what = format!("{stall}: {who}");
        Row { what: &what, against: "1 ms", unit: "x", gate, rounds }.report();
    };
    row(OURS, Gate::AtMost(1.0), &ours);
    row(AZURE, Gate::None, &theirs);
}
