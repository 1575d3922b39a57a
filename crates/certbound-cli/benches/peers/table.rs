//! What was measured: ratios of the rounds, their medians, and the figures they are of.

use std::fmt::Write as _;

pub(crate) struct Table {
    names: Vec<&'static str>,
    rows: Vec<Row>,
}

struct Row {
    text: &'static str,
    unit: &'static str,
    /// By worker, then by round.
    rounds: Vec<Vec<f64>>,
}

impl Table {
    pub(crate) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        Self { names: names.collect(), rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, text: &'static str, unit: &'static str, worker: usize, value: f64) {
        let at = match self.rows.iter().position(|row| row.text == text) {
            Some(at) => at,
            None => {
                self.rows.push(Row { text, unit, rounds: vec![Vec::new(); self.names.len()] });
                self.rows.len() - 1
            }
        };
        self.rows[at].rounds[worker].push(value);
    }

    /// As Markdown: ours as it is, all others as multiples of it.
    pub(crate) fn text(&self) -> String {
        let others = self.names[1..].join(" | ");
        let mut text =
            format!("\n| What | {} | {others} |\n|---|{}\n", self.names[0], "---|".repeat(self.names.len()));
        for row in &self.rows {
            let ours = shown(median(&row.rounds[0]), row.unit);
            let ratios: Vec<String> = (1..self.names.len()).map(|at| row.ratio(at)).collect();
            let _ = writeln!(text, "| {} | {ours} | {} |", row.text, ratios.join(" | "));
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        let rows: Vec<serde_json::Value> = self
            .rows
            .iter()
            .map(|row| {
                let of = |at: usize| {
                    let ratio = row.ratios(at);
                    serde_json::json!({
                        "who": self.names[at], "rounds": row.rounds[at],
                        "ratio_to_certbound": (!ratio.is_empty()).then(|| median(&ratio)),
                    })
                };
                let measured: Vec<_> = (0..self.names.len()).map(of).collect();
                serde_json::json!({ "what": row.text, "unit": row.unit, "measured": measured })
            })
            .collect();
        let mut text = serde_json::to_string_pretty(&serde_json::json!({ "rows": rows })).unwrap();
        text.push('\n');
        text
    }
}

impl Row {
    /// Of each round by itself: what the machine did to one, it did to the other.
    fn ratios(&self, at: usize) -> Vec<f64> {
        self.rounds[at].iter().zip(&self.rounds[0]).map(|(theirs, ours)| theirs / ours).collect()
    }

    fn ratio(&self, at: usize) -> String {
        let ratios = self.ratios(at);
        if ratios.is_empty() {
            return "–".to_owned();
        }
        match median(&ratios) {
            ratio if ratio < 10.0 => format!("{ratio:.2}x"),
            ratio => format!("{ratio:.0}x"),
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn shown(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => format!("{:.1} MiB", value / 1024.0 / 1024.0),
        _ if value < 1e3 => format!("{value:.0} ns"),
        _ if value < 1e6 => format!("{:.0} µs", value / 1e3),
        _ => format!("{:.1} ms", value / 1e6),
    }
}
