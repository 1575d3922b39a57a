//! The Node installation with the packages of the tests.

use std::path::PathBuf;

/// Returns the interpreter that `cargo xtask test` found or installed.
pub(super) fn interpreter() -> PathBuf {
    named("CERTBOUND_NODE")
}

/// Returns the folder with its `node_modules`.
pub(super) fn packages() -> PathBuf {
    named("CERTBOUND_NODE_PACKAGES")
}

fn named(name: &str) -> PathBuf {
    let path = std::env::var_os(name).map(PathBuf::from);
    path.unwrap_or_else(|| panic!("{name} is not set: run the tests by `cargo xtask test`"))
}
