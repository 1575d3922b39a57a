//! `cargo xtask deny`: `deny.toml` held against the dependencies, by cargo-deny.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{capture, cargo, on_path, run, say};

const VERSION: &str = "0.20.2";

/// Checks bans, licences and sources. Advisories need a database from the network and are asked for by hand:
/// `cargo deny check advisories`.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    let cargo_deny = find_or_install(root)?;
    // What tests and benchmarks bring along is not shipped: it may have a runtime of its own, but not any licence.
    let check =
        |arguments: &[&str]| run(Command::new(&cargo_deny).current_dir(root).arg("--locked").args(arguments));
    check(&["--exclude-dev", "check", "bans"])?;
    check(&["check", "licenses", "sources"])
}

fn find_or_install(root: &Path) -> Result<PathBuf> {
    let tools = root.join("target").join("tools");
    let ours = tools.join("bin").join("cargo-deny");
    if let Some(found) = on_path("cargo-deny").or_else(|| ours.exists().then(|| ours.clone())) {
        say(&format!("deny: {}, found", capture(Command::new(&found).arg("--version"))?.trim()));
        return Ok(found);
    }
    say(&format!(
        "deny: cargo-deny is not on PATH; building {VERSION} into target/tools, once, takes some minutes"
    ));
    run(cargo(root)
        .args(["install", "--quiet", "--locked", &format!("cargo-deny@{VERSION}"), "--root"])
        .arg(&tools)
        // It runs for a second: a quick build is worth more than a quick program.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"))
    .context(
        "cargo-deny could not be installed; with network access, `cargo install cargo-deny` does it by hand",
    )?;
    Ok(ours)
}
