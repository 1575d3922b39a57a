//! The Node that has the packages of the tests.

use std::path::PathBuf;

/// The interpreter that `cargo xtask test` found or brought.
pub(super) fn interpreter() -> PathBuf {
    named("CERTBOUND_NODE")
}

/// The folder that holds its `node_modules`.
pub(super) fn packages() -> PathBuf {
    named("CERTBOUND_NODE_PACKAGES")
}

fn named(name: &str) -> PathBuf {
    let path = std::env::var_os(name).map(PathBuf::from);
    path.unwrap_or_else(|| panic!("{name} is not set: run the tests by `cargo xtask test`"))
}
