//! `cargo xtask oracle`: runs the oracle of the cache for longer than the tests do.

use std::path::Path;

use anyhow::Result;

use crate::process::{cargo, run};

/// The duration of the run before a release, in seconds.
pub(crate) const LONG: u64 = 600;

/// Runs the oracle for this number of seconds, from `seed` or from a seed that this function chooses. After a failure,
/// the oracle prints the seed that repeats the run.
pub(crate) fn run_for(root: &Path, seconds: u64, seed: Option<u64>) -> Result<()> {
    let mut command = cargo(root);
    command.args(["test", "--release", "--locked", "--package", "certbound", "--test", "behaviour", "--"]);
    command.args(["oracle::what_is_served", "--nocapture"]);
    command.env("CERTBOUND_ORACLE_SECONDS", seconds.to_string());
    // The default seeds differ from the tests' seeds, and from run to run.
    let seed = seed.unwrap_or_else(|| 1_000_000 + u64::from(std::process::id()) * 10_000);
    command.env("CERTBOUND_ORACLE_SEED", seed.to_string());
    run(&mut command)
}
