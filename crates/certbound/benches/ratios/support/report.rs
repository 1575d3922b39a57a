//! The output of a run: a line for a reader, and the same as JSON for the table of `cargo xtask bench`.

use std::fmt;
use std::io::Write as _;

/// The variable with the path of the file to which rows are added, one JSON object per line.
const ROWS: &str = "CERTBOUND_BENCH_ROWS";

/// The limit of a ratio. The project sets these numbers; a run does not change them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Gate {
    AtMost(f64),
    AtLeast(f64),
    /// The ratio has no limit and is printed for comparison only.
    None,
}

impl Gate {
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
            Self::AtMost(limit) => write!(f, "at most {limit}"),
            Self::AtLeast(limit) => write!(f, "at least {limit}"),
            Self::None => f.write_str("–"),
        }
    }
}

/// One quantity: its name, its floor, and the ratio of each round.
pub(crate) struct Row<'a> {
    pub(crate) what: &'a str,
    pub(crate) against: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) gate: Gate,
    pub(crate) rounds: &'a [f64],
}

impl Row<'_> {
    /// Prints the row, and adds it to the file of rows if the variable is set. A row without rounds was not measured
    /// and is left out.
    pub(crate) fn report(&self) {
        if self.rounds.is_empty() {
            return;
        }
        let median = median(self.rounds);
        let met = self.gate.is_met(median);
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "no gate",
        };
        let rounds = self.rounds.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ");
        let Self { what, against, unit, gate, .. } = self;
        println!("{what} / {against} = {median:.2}{unit} (gate {gate}: {verdict}; rounds {rounds})");
        add_line(&serde_json::json!({
            "what": what, "against": against, "unit": unit, "median": median, "rounds": self.rounds,
            "gate": gate.to_string(), "met": met,
        }));
    }
}

/// Adds a line to the file of rows if the variable is set.
pub(crate) fn add_line(line: &serde_json::Value) {
    let Some(path) = std::env::var_os(ROWS) else { return };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(file, "{line}").unwrap();
}

/// Returns the median; of two middle values the higher one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
