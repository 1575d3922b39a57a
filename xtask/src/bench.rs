//! `cargo xtask bench`: measures every ratio that has a gate, and compares certbound with other libraries.

mod facts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::facts::Facts;
use crate::process::{self, cargo, locked, run as run_command, say};
use crate::strangers::{self, go};

/// Sets up the strangers as the tests do, builds the benchmark, and runs it in the network of an isolated emulator.
///
/// The arguments select groups of rows by their names; `--quick` shortens all loops.
///
/// # Errors
/// A step failed, or a gate was missed.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let strangers = strangers::set_up(root)?;
    let go = go::worker(root);
    if let Err(why) = &go {
        say(&format!("set-up: MSAL for Go is omitted: {why:#}"));
    }
    let [command, benchmark] = build(root)?;
    let folder = root.join("target").join("bench");
    fs::create_dir_all(&folder)?;
    let (rows, result) = (folder.join("rows.json"), folder.join("result.json"));
    fs::write(&rows, "[]")?;
    let facts = Facts::gather(root, &strangers, &go)?;
    println!("\n{}\n", facts.text());
    let mut emulated = Command::new(&command);
    emulated
        .args(["emulator", "run", "--isolated", "--world"])
        .arg(root.join("benches/world.toml"))
        .arg("--")
        .arg(&benchmark)
        .args(arguments)
        .env("CERTBOUND_BENCH_ROWS", &rows)
        .env("CERTBOUND_COMMAND", &command)
        .env("CERTBOUND_PYTHON", &strangers.python)
        .env("CERTBOUND_NODE", &strangers.node.interpreter)
        .env("CERTBOUND_NODE_PACKAGES", &strangers.node.packages);
    if let Ok(go) = &go {
        emulated.env("CERTBOUND_GO_WORKER", &go.worker);
    }
    let outcome = run_command(&mut emulated);
    let rows: Value = serde_json::from_str(&fs::read_to_string(&rows)?)?;
    let all = json!({ "about": facts.json(), "measured": rows });
    fs::write(&result, format!("{all:#}\n"))
        .with_context(|| format!("could not write {}", result.display()))?;
    println!("\nas JSON: {}", result.display());
    outcome.context("a gate was missed, or the benchmark failed")
}

/// Builds the command line and the benchmark, and returns their paths.
fn build(root: &Path) -> Result<[PathBuf; 2]> {
    let mut command = cargo(root);
    command
        .args(["build", "--release", "--package", "certbound-cli", "--package", "certbound-benches"])
        .args(["--bin", "certbound", "--bench", "ratios"])
        .args(locked(root));
    say("bench: building certbound and the benchmark, optimised");
    process::build(&mut command, ["certbound", "ratios"])
}
