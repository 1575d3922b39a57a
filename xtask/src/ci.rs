//! `cargo xtask ci`: every check except the tests, the quick checks first.

use std::path::Path;

use anyhow::Result;

use crate::process::{WITH_HEADERS, WITHOUT_HEADERS, cargo, locked, run};
use crate::{deny, fuzz, layering, soak, strangers};

/// Runs formatting, layering, clippy, builds with few features, documentation, the dependency rules, the soak for
/// 60 seconds, and then each fuzz target for 20 seconds. It stops at the first failure.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    run(cargo(root).args(["fmt", "--all", "--check"]))?;
    run(cargo(root).args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    layering::run(root)?;
    run(cargo(root)
        .args(["clippy", "--workspace", "--all-targets"])
        .args(WITHOUT_HEADERS)
        .args(locked(root))
        .args(["--", "-D", "warnings"]))?;
    strangers::headers()?;
    run(cargo(root)
        // `--workspace` gives the other packages the same features as above, so that few of them are checked again.
        .args(["clippy", "--workspace", "--all-targets"])
        .args(WITH_HEADERS)
        .args(locked(root))
        .args(["--", "-D", "warnings"]))?;
    features(root)?;
    run(cargo(root)
        .args(["doc", "--workspace", "--no-deps"])
        .args(locked(root))
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    deny::run_all(root)?;
    let (seconds, seed) = soak::IN_CI;
    soak::run_for(root, seconds, Some(seed))?;
    fuzz::smoke(root)
}

/// Lints the verifier without features, and the client without features and with single features. Then it checks the
/// example of a client without features. The command line is left out, because it turns features on for all packages.
fn features(root: &Path) -> Result<()> {
    let lint = |package: &str, features: &str| {
        run(cargo(root)
            .args(["clippy", "--package", package, "--lib", "--no-default-features", "--features", features])
            .args(locked(root))
            .args(["--", "-D", "warnings"]))
    };
    lint("certbound-verifier", "")?;
    for feature in ["", "foreign-tls", "hyper-rustls", "managed-identity", "sealed-store", "watch"] {
        lint("certbound", feature)?;
    }
    run(cargo(root)
        .args(["check", "--package", "certbound", "--no-default-features", "--example", "own_transport"])
        .args(locked(root)))
}
