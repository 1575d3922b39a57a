//! The main job on real TLS connections, and the checklist that judges it.
//!
//! ```text
//!  stage (emulator, certificates) ─► run (what was done) ─► Evidence ─► checklist (what it shows) ─► Report
//! ```
//! Nothing is assumed: each line looks at the emulator's journal, at an answer, at a type with the request that came of
//! it, or at the documentation itself.

mod checklist;
mod commands;
mod documents;
mod evidence;
mod run;
mod stage;
mod tamper;
mod watched;

use std::path::Path;

use certbound::{Clock as _, SystemClock};
use certbound_emulator::Fault;
use serde::Serialize;

use self::evidence::Evidence;
pub use self::tamper::Tamper;

/// The checklist with its marks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// A line each.
    pub checks: Vec<CheckedLine>,
    /// How many hold.
    pub passed: usize,
    /// How many do not.
    pub failed: usize,
    /// How long it took.
    pub milliseconds: u64,
}

/// One line of the checklist.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedLine {
    /// A stable name.
    pub id: &'static str,
    /// The leg it is about, if it is about one.
    pub leg: Option<u8>,
    /// What must hold.
    pub text: &'static str,
    /// Whether it does.
    pub ok: bool,
    /// What was looked at.
    pub how: How,
    /// What was seen, or why nothing was.
    pub detail: String,
}

/// What a line looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The emulator's journal, TLS facts and answers.
    Wire,
    /// What the types allow, and the request that came of it.
    Type,
    /// The documentation.
    Text,
}

/// Runs the main job with these faults planted in the emulator, and judges it. It never fails: what could not be done
/// is a line that does not hold. `program` is the command `certbound`, for the lines about what it refuses.
pub async fn run(program: &Path, faults: &[Fault]) -> Report {
    run_tampered(program, faults, Tamper::Nothing).await
}

/// As [`run`], with what the client sends or types tampered with on its way: for the proof that the checklist notices.
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
