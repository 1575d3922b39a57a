//! The results of the benchmarks as one Markdown document.

use std::fmt::Write as _;

use serde_json::Value;

use super::facts::Facts;

pub(super) fn markdown(facts: &Facts, lines: &[Value]) -> String {
    let Facts { date, machine, rustc, commit, versions } = facts;
    let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut text = format!("\n{date}, {machine}, {rustc}, commit {commit}.\n{}.\n\n", versions.join("; "));
    text.push_str("| What | Against | Median | Gate | |\n|---|---|---|---|---|\n");
    for row in lines.iter().filter(|line| line.get("median").is_some()) {
        let of = |name: &str| row[name].as_str().unwrap_or_default();
        let median = shown(row["median"].as_f64().unwrap_or(f64::NAN));
        let verdict = match row["met"].as_bool() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {median}{} | {} | {verdict} |",
            of("what"),
            of("against"),
            of("unit"),
            of("gate")
        );
    }
    for cells in lines.iter().filter_map(|line| line["cells"].as_array()) {
        text.push('\n');
        for row in cells {
            let row: Vec<&str> = row.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
    }
    text
}

fn shown(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}
