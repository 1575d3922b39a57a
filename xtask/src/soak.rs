//! `cargo xtask soak`: runs many tasks with random faults, and judges each token, error and request.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::process::{self, WITHOUT_HEADERS, cargo, locked, run, say};

/// The duration of the run before a release, in seconds.
pub(crate) const LONG: u64 = 600;
/// The duration and the seed in CI. The seed is always the same, so that only the change under test can cause a
/// failure.
pub(crate) const IN_CI: (u64, u64) = (60, 1);

/// Builds the soak with the features of the tests, so that nothing else is built again, and runs it for this number of
/// seconds. If no seed is given, the seed depends on the process id. The soak prints its seed.
pub(crate) fn run_for(root: &Path, seconds: u64, seed: Option<u64>) -> Result<()> {
    let program = build(root)?;
    let seed = seed.unwrap_or_else(|| 1_000_000 + u64::from(std::process::id()));
    let mut command = Command::new(program);
    // By default glibc keeps much of the freed memory. This would hide a leak.
    command.env("MALLOC_ARENA_MAX", "1").env("MALLOC_MMAP_THRESHOLD_", "8192");
    command.env("MALLOC_TRIM_THRESHOLD_", "4096").env("MALLOC_TOP_PAD_", "4096");
    run(command.args([seconds.to_string(), seed.to_string()]).stdin(Stdio::null()))
}

fn build(root: &Path) -> Result<PathBuf> {
    let mut command = cargo(root);
    command.args(["build", "--workspace"]).args(WITHOUT_HEADERS).args(["--bench", "soak"]).args(locked(root));
    say("soak: building");
    let [soak] = process::build(&mut command, ["soak"])?;
    Ok(soak)
}
