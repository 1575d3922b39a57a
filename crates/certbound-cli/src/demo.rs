//! `certbound demo`: runs the two-leg flow on real TLS connections, and a checklist that judges the result.
//!
//! ```text
//!  stage (emulator, certificates) ─► run (what was done) ─► Evidence ─► checklist (what it shows) ─► Report
//! ```
//! Each line of the checklist examines one of these: the emulator's journal, an answer, a type together with its
//! request, or the documentation.

mod checklist;
mod commands;
mod documents;
mod evidence;
mod run;
mod stage;
mod tamper;
mod watched;

use std::path::Path;

use certbound::clock::{Clock as _, SystemClock};
use certbound_emulator::Fault;
use serde::Serialize;

use self::evidence::Evidence;
pub use self::tamper::Tamper;

/// The checklist with its marks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The lines of the checklist.
    pub checks: Vec<CheckedLine>,
    /// The number of lines that hold.
    pub passed: usize,
    /// The number of lines that do not hold.
    pub failed: usize,
    /// The duration of the run.
    pub milliseconds: u64,
}

/// One line of the checklist.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedLine {
    /// A stable name.
    pub id: &'static str,
    /// The leg that the line is about, if there is one.
    pub leg: Option<u8>,
    /// The statement that must hold.
    pub text: &'static str,
    /// Whether the statement holds.
    pub ok: bool,
    /// The kind of evidence.
    pub how: How,
    /// The observed value, or the reason why it is missing.
    pub detail: String,
}

/// The kind of evidence that a line uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The emulator's journal, TLS facts and answers.
    Wire,
    /// A restriction of the types, and the request that resulted.
    Type,
    /// The documentation.
    Text,
}

/// Runs the flow with these faults in the emulator, and judges it. It never fails: a step that could not be done is a
/// line that does not hold. `program` is the command `certbound`, for the lines about its refusals.
pub async fn run(program: &Path, faults: &[Fault]) -> Report {
    run_tampered(program, faults, Tamper::Nothing).await
}

/// As [`run`], but changes the client's requests or arguments on their way. Tests use it to prove that the checklist
/// notices.
pub async fn run_tampered(program: &Path, faults: &[Fault], tamper: Tamper) -> Report {
    let clock = SystemClock::new();
    let begin = clock.monotonic();
    let evidence = match stage::Stage::set(faults).await {
        Ok(stage) => {
            let evidence = run::run(&stage, program, tamper).await;
            stage.strike().await;
            evidence
        }
        Err(reason) => Evidence::none(&format!("the emulator did not start: {reason}")),
    };
    let checks = checklist::judge(&evidence);
    let passed = checks.iter().filter(|check| check.ok).count();
    let milliseconds = u64::try_from(clock.monotonic().saturating_sub(begin).as_millis()).unwrap_or(u64::MAX);
    Report { failed: checks.len() - passed, passed, checks, milliseconds }
}
