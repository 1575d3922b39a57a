//! `cargo xtask ci`: every check except the tests, the quick ones first.

use std::path::Path;

use anyhow::Result;

use crate::process::{cargo, locked, run};
use crate::{deny, fuzz, layering};

/// Runs formatting, layering, clippy (with all features and with none), documentation, the dependency rules, and then
/// each fuzz target for 20 seconds. It stops at the first failure.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    run(cargo(root).args(["fmt", "--all", "--check"]))?;
    run(cargo(root).args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    layering::run(root)?;
    run(cargo(root)
        .args(["clippy", "--workspace", "--all-targets"])
        .args(locked(root))
        .args(["--", "-D", "warnings"]))?;
    // The command line is left out, because it turns features on for all packages.
    run(cargo(root)
        .args(["clippy", "--package", "certbound", "--package", "certbound-verifier", "--lib"])
        .args(locked(root))
        .args(["--", "-D", "warnings"]))?;
    run(cargo(root)
        .args(["doc", "--workspace", "--no-deps"])
        .args(locked(root))
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    deny::run_all(root)?;
    fuzz::smoke(root)
}
