//! Node and its packages: MSAL for Node, the Azure SDK, and a token service of RFC 8705 (`oidc-provider`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::apt_install;
use crate::process::{capture, on_path, run, say};

/// The oldest version of Node that the packages support.
const OLDEST: u32 = 20;

/// The npm package that contains Node, for systems without Node of version [`OLDEST`] or later.
const BROUGHT: &str = "node@24.21.0";

const PACKAGE: &str = include_str!("../../node/package.json");
const LOCK: &str = include_str!("../../node/package-lock.json");

/// The interpreter, and the folder that has the packages in `node_modules`.
pub(crate) struct Node {
    pub(crate) interpreter: PathBuf,
    pub(crate) packages: PathBuf,
}

pub(super) fn set_up(folder: &Path) -> Result<Node> {
    if on_path("npm").is_none() {
        apt_install(&["nodejs", "npm"])?;
    }
    let Some(npm) = on_path("npm") else {
        bail!("set-up: npm is not on PATH, though the package npm is installed");
    };
    let interpreter = interpreter(&npm, &folder.join("runtime"))?;
    let packages = packages(&npm, folder)?;
    Ok(Node { interpreter, packages })
}

fn interpreter(npm: &Path, runtime: &Path) -> Result<PathBuf> {
    let system = on_path("node").filter(|node| major(node).is_ok_and(|major| major >= OLDEST));
    if let Some(node) = system {
        say(&format!("set-up: node: {}", capture(Command::new(&node).arg("--version"))?.trim()));
        return Ok(node);
    }
    let node = runtime.join("node_modules/node/bin/node");
    if !major(&node).is_ok_and(|major| major >= OLDEST) {
        say(&format!(
            "set-up: installing {BROUGHT} by npm, because the system has no Node of version {OLDEST} or later"
        ));
        fs::create_dir_all(runtime)?;
        fs::write(runtime.join("package.json"), "{\"private\":true}")?;
        run(npm_in(npm, runtime).args(["install", "--no-save", BROUGHT]))
            .with_context(|| format!("set-up: could not install `{BROUGHT}` by npm"))?;
    }
    let version = capture(Command::new(&node).arg("--version")).context("set-up: node does not run")?;
    say(&format!("set-up: node: {}, installed by npm", version.trim()));
    Ok(node)
}

/// Returns the major version: 20 for `v20.20.2`.
fn major(node: &Path) -> Result<u32> {
    let version = capture(Command::new(node).arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().unwrap_or_default();
    major.parse().with_context(|| format!("`{}` is not a version of Node", version.trim()))
}

fn packages(npm: &Path, folder: &Path) -> Result<PathBuf> {
    // This file is written last, so an interrupted set-up is repeated.
    let complete = folder.join("complete.txt");
    if fs::read_to_string(&complete).is_ok_and(|lock| lock == LOCK) {
        say("set-up: MSAL for Node, the Azure SDK and oidc-provider: found");
        return Ok(folder.to_owned());
    }
    say("set-up: installing MSAL for Node, the Azure SDK and oidc-provider in target/strangers/node");
    fs::create_dir_all(folder)?;
    fs::write(folder.join("package.json"), PACKAGE)?;
    fs::write(folder.join("package-lock.json"), LOCK)?;
    run(npm_in(npm, folder).arg("ci"))
        .context("set-up: could not install the packages from npm; check the network")?;
    fs::write(complete, LOCK)?;
    Ok(folder.to_owned())
}

fn npm_in(npm: &Path, folder: &Path) -> Command {
    let mut command = Command::new(npm);
    command.current_dir(folder).stdin(Stdio::null());
    command.args(["--no-audit", "--no-fund", "--loglevel=error"]);
    command
}
