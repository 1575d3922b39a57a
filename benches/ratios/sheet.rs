//! The table of the results. Each row compares a value of certbound with the value of the baseline or of another
//! library. A row can have a gate.

use std::fmt;

use serde_json::{Value, json};

/// The number of rounds. Each round measures every side of a comparison once.
const ROUNDS: usize = 5;
/// The environment variable with the path of the file to which the rows are written as JSON.
const ROWS: &str = "CERTBOUND_BENCH_ROWS";

/// The limit of a ratio. The limits are fixed in the source code.
#[derive(Clone, Copy)]
pub(crate) enum Gate {
    /// The greatest accepted ratio of our value to the other value.
    AtMost(f64),
    /// The least accepted ratio of the other value to our value.
    AtLeast(f64),
    /// The ratio of the other value to our value has no limit.
    None,
}

/// The unit of a value.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Nanoseconds,
    Bytes,
}

/// One side of a comparison: its name, and the function that measures its value in one round.
pub(crate) struct Side<'a> {
    name: &'static str,
    measure: Box<dyn FnMut() -> f64 + 'a>,
}

pub(crate) fn side<'a>(name: &'static str, measure: impl FnMut() -> f64 + 'a) -> Side<'a> {
    Side { name, measure: Box::new(measure) }
}

/// A row: the name of our side, its gate, and the name of the baseline or of the other library.
pub(crate) type Line = (&'static str, Gate, &'static str);

/// The rows that have been measured.
pub(crate) struct Sheet {
    rows: Vec<Value>,
    pub(crate) is_any_gate_missed: bool,
}

impl Sheet {
    /// Prints the head of the table.
    pub(crate) fn begin() -> Self {
        println!(
            "| What | Ours | Baseline or other library | Ratio (rounds) | Gate | |\n|---|---|---|---|---|---|"
        );
        Self { rows: Vec::new(), is_any_gate_missed: false }
    }

    /// Measures the times of all sides in alternating rounds, and prints a row for each line. A line is omitted if its
    /// other side is not installed. A side without a line is compared with our side of the last line, in a row without
    /// a gate.
    pub(crate) fn compare(&mut self, what: &str, sides: Vec<Side<'_>>, lines: &[Line]) {
        self.compare_in(Unit::Nanoseconds, what, sides, lines);
    }

    /// Compares numbers of bytes instead of times.
    pub(crate) fn compare_bytes(&mut self, what: &str, sides: Vec<Side<'_>>, lines: &[Line]) {
        self.compare_in(Unit::Bytes, what, sides, lines);
    }

    fn compare_in(&mut self, unit: Unit, what: &str, mut sides: Vec<Side<'_>>, lines: &[Line]) {
        let mut rounds = vec![Vec::new(); sides.len()];
        for _ in 0..ROUNDS {
            for (side, values) in sides.iter_mut().zip(&mut rounds) {
                values.push((side.measure)());
            }
        }
        let mut lines = lines.to_vec();
        let ours = lines[lines.len() - 1].0;
        for Side { name, .. } in &sides {
            if !lines.iter().any(|(ours, _, other)| ours == name || other == name) {
                lines.push((ours, Gate::None, *name));
            }
        }
        let measured = |name: &'static str| {
            sides.iter().position(|side| side.name == name).map(|at| (name, &*rounds[at]))
        };
        for (ours, gate, other) in lines {
            if let Some((ours, other)) = measured(ours).zip(measured(other)) {
                self.add(what, unit, gate, ours, other);
            }
        }
    }

    /// Prints a row with the median of the rounds' ratios. A load on the machine affects both values of a round, so the
    /// ratio changes little.
    fn add(&mut self, what: &str, unit: Unit, gate: Gate, ours: (&str, &[f64]), other: (&str, &[f64])) {
        let mut ratios: Vec<f64> =
            ours.1.iter().zip(other.1).map(|(ours, other)| gate.ratio(*ours, *other)).collect();
        ratios.sort_by(f64::total_cmp);
        let is_met = gate.is_met(median(&ratios));
        self.is_any_gate_missed |= is_met == Some(false);
        let shown = |(name, values): (&str, &[f64])| format!("{name}: {}", unit.shown(median(values)));
        println!(
            "| {what} | {} | {} | {} ({} to {}) | {gate} | {} |",
            shown(ours),
            shown(other),
            times(median(&ratios)),
            times(ratios[0]),
            times(ratios[ratios.len() - 1]),
            is_met.map_or("", |is_met| if is_met { "met" } else { "**missed**" }),
        );
        self.rows.push(json!({
            "what": what, "unit": format!("{unit:?}"), "ratio": median(&ratios),
            "ours": { "name": ours.0, "rounds": ours.1 }, "other": { "name": other.0, "rounds": other.1 },
            "gate": gate.to_string(), "met": is_met,
        }));
    }

    /// Writes the rows as JSON if the environment variable `CERTBOUND_BENCH_ROWS` names a file.
    pub(crate) fn save(&self) {
        if let Some(path) = std::env::var_os(ROWS) {
            std::fs::write(path, Value::from(self.rows.clone()).to_string()).unwrap();
        }
    }
}

impl Gate {
    fn ratio(self, ours: f64, other: f64) -> f64 {
        match self {
            Self::AtMost(_) => ours / other,
            Self::AtLeast(_) | Self::None => other / ours,
        }
    }

    fn is_met(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtMost(limit) => Some(ratio <= limit),
            Self::AtLeast(limit) => Some(ratio >= limit),
            Self::None => None,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "ours / other at most {limit}"),
            Self::AtLeast(limit) => write!(f, "other / ours at least {limit}"),
            Self::None => f.write_str("other / ours, no gate"),
        }
    }
}

impl Unit {
    fn shown(self, value: f64) -> String {
        match self {
            Self::Nanoseconds if value < 1e3 => format!("{value:.0} ns"),
            Self::Nanoseconds if value < 1e6 => format!("{:.1} µs", value / 1e3),
            Self::Nanoseconds => format!("{:.1} ms", value / 1e6),
            Self::Bytes if value < 1e4 => format!("{value:.0} bytes"),
            Self::Bytes => format!("{:.1} MiB", value / 1024.0 / 1024.0),
        }
    }
}

fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}x") } else { format!("{ratio:.0}x") }
}

/// Returns the median. If there are two middle values, returns the higher value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
