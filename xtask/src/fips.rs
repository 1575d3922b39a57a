//! `cargo xtask fips`: builds the command line with the FIPS module of AWS-LC, and tests it.
//!
//! Neither `cargo xtask test` nor `cargo xtask ci` runs this command, because it builds every crate with cryptography a
//! second time. It shares the target folder with them, so other crates are not built again.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::process::{self, WITHOUT_HEADERS, capture, cargo, locked, run, say};
use crate::strangers;

/// The tests of the libraries and of the command.
const TESTS: [&str; 9] =
    ["--lib", "--test", "behaviour", "--test", "sockets", "--test", "numbered", "--test", "cli"];

/// Installs the programs that the build needs. Then it builds the program, checks that the program uses the FIPS
/// module, and runs the demo and the tests with the feature.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    strangers::builders_of_fips()?;
    let [program] = process::build(with_fips(root, "build").args(["--bin", "certbound"]), ["certbound"])?;
    let size = fs::metadata(&program)?.len();
    say(&format!("fips: the program has {} MB", size / 1_000_000));
    uses_the_module(&program)?;
    run(Command::new(&program).args(["demo", "-o", "table"]))?;
    let strangers = strangers::set_up(root)?;
    run(with_fips(root, "test")
        .arg("--no-fail-fast")
        .args(TESTS)
        .env("CERTBOUND_PYTHON", &strangers.python)
        .env("CERTBOUND_NODE", &strangers.node.interpreter)
        .env("CERTBOUND_NODE_PACKAGES", &strangers.node.packages))?;
    say("fips: all passed");
    Ok(())
}

/// Returns a command of cargo with the feature. `--workspace` gives the other packages the same features as in `cargo
/// xtask test`, so that few of them are compiled again.
fn with_fips(root: &Path, command: &str) -> Command {
    let mut cargo = cargo(root);
    cargo
        .args([command, "--workspace", "--features", "certbound-cli/fips"])
        .args(WITHOUT_HEADERS)
        .args(locked(root));
    cargo
}

/// Checks that the program reports the FIPS module, and prints its report.
fn uses_the_module(program: &Path) -> Result<()> {
    let capabilities = |format: &str| {
        let mut command = Command::new(program);
        command.args(["emulator", "run", "--"]).arg(program).args(["capabilities", "-o", format]);
        capture(&mut command)
    };
    let facts: Value = serde_json::from_str(&capabilities("json")?)?;
    if facts["fips"] != true {
        bail!("fips: the program does not use the FIPS module; `certbound capabilities` printed {facts}");
    }
    print!("{}", capabilities("table")?);
    Ok(())
}
