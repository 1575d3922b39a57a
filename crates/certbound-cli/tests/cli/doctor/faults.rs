//! Each fault of the emulator has its line, and `docs/doctor.md` has the table.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use serde_json::{Value, json};

use super::rows::{ROWS, Row};
use super::{Flow, Report};
use crate::support::{self, Emulator};

/// The faults that this table does not have, each with the reason.
const ELSEWHERE: &[(&str, &str)] =
    &[("arc_challenge", "`the_challenge_of_an_arc_agent_is_named` is its test, which needs an isolated run")];

/// The number of rows that run at the same time.
const EMULATORS: usize = 4;

/// The number of times that a fault can apply. No report needs so many requests, so the count that is left shows whether
/// the fault was applied.
const MANY: u64 = 1000;

/// A row with the text that the report gave as the reason, without numbers and ids.
struct Seen {
    at: usize,
    reason: String,
}

/// Runs every row. Rows that run at the same time have different emulators.
fn run_all() -> Vec<Seen> {
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for first in 0..EMULATORS {
            let seen = &seen;
            scope.spawn(move || {
                let emulator = Emulator::start();
                for (at, row) in ROWS.iter().enumerate().skip(first).step_by(EMULATORS) {
                    let reason = run(&emulator, row);
                    seen.lock().unwrap().push(Seen { at, reason });
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_by_key(|seen| seen.at);
    seen
}

fn run(emulator: &Emulator, row: &Row) -> String {
    let part = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    emulator.plant(&json!({"condition": part(row.condition), "result": part(row.result), "count": MANY}));
    let report = Report::of(row.flow.command(emulator).args(row.more));
    let faults: Value = serde_json::from_str(&emulator.admin("GET", "faults")).unwrap();
    emulator.admin("DELETE", "faults");
    let left = faults["faults"][0]["count"].as_u64().unwrap();
    assert!(left < MANY, "{} at {} was applied to no request", row.result, row.condition);
    // A failed line has an error with a code, and a warning has none.
    let kind = |code: &str| if code.is_empty() { "warning" } else { "failed" };
    let expected: Vec<_> = row.lines.iter().map(|(id, code)| (*id, kind(code), *code)).collect();
    assert_eq!(report.problems(), expected, "{} at {}: {:#}", row.result, row.condition, report.0);
    let why = |id: &&str| {
        let line = report.line(id);
        let summary = line["summary"].as_str().unwrap_or_default();
        format!("{summary} {}", line["why"].as_str().unwrap_or_default())
    };
    general(&row.lines.first().map(|(id, _)| why(id)).unwrap_or_default())
}

/// Replaces numbers and ids, which differ between two runs.
fn general(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.');
    let mut general = String::new();
    for part in text.split_inclusive(|c| !is_word(c)) {
        let is_id =
            part.chars().any(|c| c.is_ascii_digit()) || part.trim_end_matches(|c| !is_word(c)).len() == 43;
        general.push_str(if is_id { "#" } else { part });
    }
    general
}

/// With `CERTBOUND_WRITE_DOCS=1` this test writes the table of the document instead of comparing it.
#[test]
fn each_fault_has_the_line_that_names_it_and_the_document_has_the_table() {
    let seen = run_all();
    support::page("docs/doctor.md", |page| {
        let (before, rest) = page.split_once("<!-- faults -->\n").unwrap();
        let (_, after) = rest.split_once("<!-- end of faults -->").unwrap();
        format!("{before}<!-- faults -->\n{}<!-- end of faults -->{after}", table(&seen))
    });
}

/// Returns the table. Faults with the same line, code and reason share a row.
fn table(seen: &[Seen]) -> String {
    let mut groups: Vec<(&Row, &str, Vec<String>)> = Vec::new();
    for Seen { at, reason } in seen {
        let row = &ROWS[*at];
        let more = row.more.first().filter(|flag| **flag != "--timeout");
        let name = format!(
            "`{}`{}",
            row.result.trim_matches('"'),
            more.map(|it| format!(" with `{it}`")).unwrap_or_default()
        );
        let same = groups.iter_mut().find(|(other, why, _)| {
            other.at == row.at && other.lines == row.lines && *why == reason && !row.lines.is_empty()
        });
        match same {
            Some((_, _, names)) => names.push(name),
            None => groups.push((row, reason, vec![name])),
        }
    }
    let mut text = "\n| Fault | At | Line | Code |\n|---|---|---|---|\n".to_owned();
    for (row, _, names) in groups {
        let ids: Vec<String> = row.lines.iter().map(|(id, _)| format!("`{id}`")).collect();
        let ids = if ids.is_empty() { "none: the flow works".to_owned() } else { ids.join(", then ") };
        let code = row.lines.first().map(|(_, code)| *code).unwrap_or_default();
        let code = match code {
            "" if row.lines.is_empty() => String::new(),
            "" => "warning".to_owned(),
            code => format!("`{code}`"),
        };
        text.push_str(&format!("| {} | {} | {ids} | {code} |\n", names.join(", "), row.at));
    }
    text + "\n"
}

/// The emulator's error about an unknown fault lists all faults. A new fault needs a row.
#[test]
fn the_table_has_every_fault_of_the_emulator() {
    let error =
        serde_json::from_str::<certbound_emulator::Fault>(r#"{"result":"?"}"#).unwrap_err().to_string();
    let (_, known) = error.split_once("expected").unwrap();
    let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).collect();
    let name = |row: &Row| match serde_json::from_str::<Value>(row.result).unwrap() {
        Value::String(name) => name,
        Value::Object(result) => result.keys().next().unwrap().clone(),
        other => panic!("{other}"),
    };
    let mut named: BTreeSet<String> = ROWS.iter().map(name).collect();
    named.extend(ELSEWHERE.iter().map(|(name, _)| (*name).to_owned()));
    let missing: Vec<&&str> = known.iter().filter(|name| !named.contains(**name)).collect();
    assert!(missing.is_empty(), "add rows to doctor/rows.rs for {missing:?}");
}

#[test]
fn without_a_fault_every_flow_is_ok() {
    let emulator = Emulator::start();
    for flow in
        [Flow::Certificate, Flow::Detected, Flow::Vault, Flow::Machine, Flow::AppService, Flow::ServiceFabric]
    {
        let report = Report::of(&mut flow.command(&emulator));
        assert_eq!(report.problems(), [], "{flow:?}: {:#}", report.0);
        for line in ["leg1.answer", "leg2.provider", "leg2.assertion", "leg2.assertion_type", "leg2.answer"] {
            assert_eq!(report.line(line)["status"], "ok", "{flow:?} {line}: {:#}", report.0);
        }
    }
}

/// The agent of Azure Arc has its files at fixed paths, so this fault needs an isolated run.
#[test]
fn the_challenge_of_an_arc_agent_is_named() {
    let fault =
        r#"{"condition":{"platform":"arc"},"result":{"arc_challenge":{"file":"/etc/passwd"}},"count":null}"#;
    let script = format!(
        "curl -sS -o /dev/null \"$CERTBOUND_EMULATOR_ADMIN/faults\" -d '{fault}'; \
         exec {} doctor -o json --bearer --leg1-managed-identity system --client-id {} --tenant {} --scope {}",
        env!("CARGO_BIN_EXE_certbound"),
        super::TARGET,
        crate::support::TENANT,
        super::GRAPH,
    );
    let mut command = crate::support::certbound();
    command.args(["emulator", "run", "--isolated", "--platform", "arc", "--", "sh", "-c", &script]);
    let report = Report::read(&command.output().unwrap());
    report.only("leg1.answer", "failed", "managed_identity_request_failed");
    assert!(report.why("leg1.answer").contains("challenge"), "{}", report.why("leg1.answer"));
}
