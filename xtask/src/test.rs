//! `cargo xtask test`: everything the tests need, then all tests.

use std::path::Path;

use anyhow::Result;

use crate::process::{cargo, locked, run};
use crate::strangers;

/// Benches are left to `cargo bench`; `cargo xtask ci` still compiles them.
const TARGETS: [&str; 4] = ["--lib", "--bins", "--tests", "--examples"];

/// Sets up the programs the tests run against, then runs unit, integration and documentation tests.
///
/// Tests find the Python that has MSAL in `CERTBOUND_PYTHON`, Node in `CERTBOUND_NODE`, and the folder with its packages
/// in `CERTBOUND_NODE_PACKAGES`.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    let strangers = strangers::set_up(root)?;
    for what in [TARGETS.as_slice(), &["--doc"]] {
        run(cargo(root)
            .args(["test", "--workspace"])
            .args(what)
            .args(locked(root))
            .env("CERTBOUND_PYTHON", &strangers.python)
            .env("CERTBOUND_NODE", &strangers.node.interpreter)
            .env("CERTBOUND_NODE_PACKAGES", &strangers.node.packages))?;
    }
    Ok(())
}
