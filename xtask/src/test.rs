//! `cargo xtask test`: sets up the programs that the tests need, then runs all tests.

use std::path::Path;

use anyhow::Result;

use crate::process::{WITH_HEADERS, WITHOUT_HEADERS, cargo, locked, run};
use crate::strangers;

/// The targets of `cargo test`. They do not include the benchmark, which `cargo xtask bench` runs and `cargo xtask ci`
/// lints.
const TARGETS: [&str; 5] = ["--lib", "--bins", "--tests", "--example", "test_with_emulator"];

/// Sets up the strangers, then runs unit and integration tests, then the tests that need the headers of libssl and
/// libtss2, and the documentation tests.
///
/// Tests find the Python with MSAL by `CERTBOUND_PYTHON`, Node by `CERTBOUND_NODE`, and the folder with its packages by
/// `CERTBOUND_NODE_PACKAGES`.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    let strangers = strangers::set_up(root)?;
    // A test runs the examples as programs.
    run(cargo(root).args(["build", "--workspace", "--examples"]).args(WITHOUT_HEADERS).args(locked(root)))?;
    run(cargo(root)
        .args(["test", "--workspace"])
        .args(WITHOUT_HEADERS)
        .args(TARGETS)
        .args(locked(root))
        .env("CERTBOUND_PYTHON", &strangers.python)
        .env("CERTBOUND_NODE", &strangers.node.interpreter)
        .env("CERTBOUND_NODE_PACKAGES", &strangers.node.packages))?;
    with_headers(root)
}

/// Runs the unit tests of all packages and the tests of `certbound-openssl`, `certbound-tpm` and the command with their
/// features, and then the documentation tests of all packages. `--workspace` gives the other packages the same features
/// as in the earlier tests, so that few of them are compiled again.
fn with_headers(root: &Path) -> Result<()> {
    for what in [["--lib", "--test", "late", "--test", "swtpm"].as_slice(), &["--doc"]] {
        run(cargo(root).args(["test", "--workspace"]).args(WITH_HEADERS).args(what).args(locked(root)))?;
    }
    Ok(())
}
