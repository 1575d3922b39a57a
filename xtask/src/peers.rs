//! `cargo xtask peers`: what a user would pick instead, measured beside certbound in one run.

use std::path::Path;

use anyhow::Result;

use crate::process::{cargo, locked, run as run_command};
use crate::strangers;

/// Sets up the strangers as the tests do, and runs the benchmark with them.
pub(crate) fn run(root: &Path) -> Result<()> {
    let strangers = strangers::set_up(root)?;
    run_command(
        cargo(root)
            .args(["bench", "-p", "certbound-cli", "--bench", "peers"])
            .args(locked(root))
            .env("CERTBOUND_PYTHON", &strangers.python)
            .env("CERTBOUND_NODE", &strangers.node.interpreter)
            .env("CERTBOUND_NODE_PACKAGES", &strangers.node.packages),
    )
}
