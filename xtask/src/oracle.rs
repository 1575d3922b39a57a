//! `cargo xtask oracle`: the randomised run beside the cache, for longer than a test may take.

use std::path::Path;

use anyhow::Result;

use crate::process::{cargo, run};

/// What is asked for before a release.
pub(crate) const LONG: u64 = 600;

/// Runs it for so many seconds, beginning with `seed`, or with one of its own. A failure names the seed that shows it again.
pub(crate) fn run_for(root: &Path, seconds: u64, seed: Option<u64>) -> Result<()> {
    let mut command = cargo(root);
    command.args(["test", "--release", "--locked", "--package", "certbound", "--test", "behaviour", "--"]);
    command.args(["oracle::what_is_served", "--nocapture"]);
    command.env("CERTBOUND_ORACLE_SECONDS", seconds.to_string());
    // Others than the tests have, and others each time.
    let seed = seed.unwrap_or_else(|| 1_000_000 + u64::from(std::process::id()) * 10_000);
    command.env("CERTBOUND_ORACLE_SEED", seed.to_string());
    run(&mut command)
}
