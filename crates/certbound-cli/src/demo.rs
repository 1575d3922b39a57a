//! `certbound demo`: runs the two-leg flow on real TLS connections, and judges the result by a checklist.
//!
//! ```text
//!  stage (emulator, certificates) ─► run (the scenes) ─► Facts ─► checklist.txt (conditions) ─► Report
//!                                                              └─► picture
//! ```

mod checklist;
mod commands;
mod facts;
mod picture;
mod run;
mod stage;
mod tamper;

use std::path::Path;

use certbound::clock::{Clock as _, SystemClock};
use certbound_emulator::{Emulator, Fault};
use serde::Serialize;

pub(crate) use self::facts::Facts;
use self::facts::{Fallible, Named, reason};
pub(crate) use self::picture::draw;
use self::stage::Stage;
pub use self::tamper::Tamper;

/// The checklist with the result of each line.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The lines of the checklist.
    pub checks: Vec<CheckedLine>,
    /// The number of lines whose statement is true.
    pub passed: usize,
    /// The number of lines whose statement is not true.
    pub failed: usize,
    /// The duration of the run.
    pub milliseconds: u64,
}

/// One line of the checklist.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedLine {
    /// A stable name.
    pub id: &'static str,
    /// The leg of the statement, or `None` for a statement without a leg.
    pub leg: Option<u8>,
    /// The statement that must be true.
    pub text: &'static str,
    /// Whether the statement is true.
    pub ok: bool,
    /// The kind of evidence.
    pub how: How,
    /// The observed facts, or the reason why the statement is not true.
    pub detail: String,
}

/// The kind of evidence that a line uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display, strum::EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum How {
    /// The emulator's journal, TLS facts and answers.
    Wire,
    /// A restriction of the types, and the resulting request.
    Type,
    /// The documentation.
    Text,
}

/// Runs the flow with these faults in the emulator, and judges it. The function never fails: if a step fails, the
/// statements about it are not true. `program` is the command `certbound`, for the lines about its refusals and its
/// help.
pub async fn run(program: &Path, faults: &[Fault]) -> Report {
    run_tampered(program, faults, Tamper::Nothing).await
}

/// Runs the flow like [`run`], but changes the client's requests or the arguments of a command. Tests use it to prove
/// that the checklist detects each change.
pub async fn run_tampered(program: &Path, faults: &[Fault], tamper: Tamper) -> Report {
    run_shown(program, faults, tamper, &mut |_| ()).await
}

/// Runs the flow as [`run_tampered`] does, and calls `show` with the facts at the beginning and after each scene.
pub(crate) async fn run_shown(
    program: &Path,
    faults: &[Fault],
    tamper: Tamper,
    show: &mut dyn FnMut(&Facts),
) -> Report {
    let clock = SystemClock::new();
    let begin = clock.monotonic();
    let mut facts = Facts::default();
    show(&facts);
    let result = match Stage::set(faults, tamper).await {
        Ok(stage) => {
            let mut recorder = Recorder { emulator: &stage.emulator, facts: &mut facts, show };
            let result = run::run(&stage, program, &mut recorder).await;
            stage.server.shutdown().await;
            result
        }
        Err(error) => Err(error),
    };
    let missing = result.map_or_else(|error| reason(&*error), |()| "no scene shows this".to_owned());
    let checks: Vec<CheckedLine> = checklist::lines().map(|line| line.checked(&facts, &missing)).collect();
    let passed = checks.iter().filter(|check| check.ok).count();
    let milliseconds = u64::try_from(clock.monotonic().saturating_sub(begin).as_millis()).unwrap_or(u64::MAX);
    Report { failed: checks.len() - passed, passed, checks, milliseconds }
}

/// Records the scenes.
struct Recorder<'a> {
    emulator: &'a Emulator,
    facts: &'a mut Facts,
    show: &'a mut dyn FnMut(&Facts),
}

impl Recorder<'_> {
    /// Records a scene that has just ended, with the requests since the last scene.
    fn add(&mut self, scene: &'static str, outcome: Fallible<Named>) {
        self.facts.add(scene, outcome, &self.emulator.journal());
        self.emulator.clear_journal();
        (self.show)(self.facts);
    }
}
