//! Runs other programs and prints their command lines.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// The arguments that leave out two packages. These packages need the headers of libssl and libtss2.
pub(crate) const WITHOUT_HEADERS: [&str; 4] =
    ["--exclude", "certbound-openssl", "--exclude", "certbound-tpm"];

/// The features of the command that need these headers.
pub(crate) const WITH_HEADERS: [&str; 2] = ["--features", "certbound-cli/openssl,certbound-cli/tpm"];

/// Prints one line of progress, with the prefix `xtask:`.
pub(crate) fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// Returns a command for the cargo that runs xtask, in the folder `root`.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    command
}

/// Returns `--locked` if there is a lock file. An outdated lock file is then an error, and is not updated silently.
pub(crate) fn locked(root: &Path) -> &'static [&'static str] {
    if root.join("Cargo.lock").exists() { &["--locked"] } else { &[] }
}

/// Prints the command line and runs the command, whose output is not captured. Returns an error unless the command
/// succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    say(&line);
    let status = command.status().with_context(|| format!("could not start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command silently and returns its output. On failure, the error contains the text that the command wrote to
/// stderr.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.output().with_context(|| format!("could not start `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed ({}): {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of `{line}` is not UTF-8"))
}

/// Runs a `cargo build` and returns the paths of these programs, which are among its targets.
pub(crate) fn build<const N: usize>(command: &mut Command, programs: [&str; N]) -> Result<[PathBuf; N]> {
    command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let line = line(command);
    say(&line);
    let output = command.output().with_context(|| format!("could not start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages: Vec<Value> = messages.collect();
    let mut paths = Vec::with_capacity(N);
    for program in programs {
        let mut of_program = messages.iter().filter(|message| message["target"]["name"] == program);
        let path = of_program.find_map(|message| message["executable"].as_str().map(PathBuf::from));
        paths.push(path.with_context(|| format!("`{line}` built no program `{program}`"))?);
    }
    paths.try_into().map_err(|_| anyhow!("`{line}` built an unexpected number of programs"))
}

/// Returns the path of `program`, if it is on PATH or in /usr/sbin.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Debian installs servers in this folder, and some users do not have it on PATH.
    let more = [PathBuf::from("/usr/sbin")];
    let folders = env::split_paths(&path).chain(more);
    folders.map(|folder| folder.join(program)).find(|file| is_executable(file))
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words: Vec<String> = std::iter::once(program)
        .chain(command.get_args())
        .map(|word: &OsStr| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|facts| facts.is_file())
}
