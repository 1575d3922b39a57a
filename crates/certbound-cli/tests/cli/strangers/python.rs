//! The Python installation with MSAL.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Emulator, certbound, json, stderr, text};

/// Returns the interpreter of the virtual environment that `cargo xtask test` creates.
pub(super) fn interpreter() -> PathBuf {
    let python = std::env::var_os("CERTBOUND_PYTHON").map(PathBuf::from);
    python.expect("CERTBOUND_PYTHON names no Python with MSAL: run the tests by `cargo xtask test`")
}

/// Returns the output of a script of this folder, with a running emulator.
pub(super) fn script(emulator: &Emulator, source: &str, arguments: &[&str]) -> Value {
    let mut command = Command::new(interpreter());
    command.args(["-c", source]).args(arguments);
    command.env("HTTPS_PROXY", emulator.text("proxy")).env("REQUESTS_CA_BUNDLE", emulator.text("ca"));
    output(command)
}

/// Returns the output of a script under `emulator run`.
pub(super) fn script_under_run(source: &str) -> Value {
    let python = interpreter();
    let mut command = certbound();
    command.args(["emulator", "run", "--", text(&python), "-c", source]);
    output(command)
}

fn output(mut command: Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    json(&output)
}
