//! The facts that are necessary to interpret a figure: date, machine and versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::process::capture;
use crate::strangers::Strangers;
use crate::strangers::go::Go;

/// The crates whose versions matter for a figure.
const CRATES: [&str; 6] = ["azure_identity", "aws-lc-rs", "hyper", "papaya", "rustls", "tokio"];

pub(super) struct Facts {
    date: String,
    machine: String,
    rustc: String,
    commit: String,
    /// The libraries, each with its version or the reason why it is missing.
    versions: Vec<(String, String)>,
}

impl Facts {
    pub(super) fn gather(root: &Path, strangers: &Strangers, go: &Result<Go>) -> Result<Self> {
        let said = |program: &str, arguments: &[&str]| -> Result<String> {
            Ok(capture(Command::new(program).args(arguments).current_dir(root))?.trim().to_owned())
        };
        let mut versions = crates(root)?;
        let python = "import msal, platform; print(msal.__version__, 'on Python', platform.python_version())";
        let python = capture(Command::new(&strangers.python).args(["-c", python]))?;
        versions.push(("MSAL for Python".to_owned(), python.trim().to_owned()));
        let package = strangers.node.packages.join("node_modules/@azure/msal-node/package.json");
        let package: Value = serde_json::from_str(&fs::read_to_string(package)?)?;
        let node = capture(Command::new(&strangers.node.interpreter).arg("--version"))?;
        let version = package["version"].as_str().unwrap_or_default();
        versions.push(("MSAL for Node".to_owned(), format!("{version} on Node {}", node.trim())));
        versions.push((
            "MSAL for Go".to_owned(),
            match go {
                Ok(go) => go.version.clone(),
                Err(why) => format!("omitted: {why:#}"),
            },
        ));
        let changed = !said("git", &["status", "--porcelain"])?.is_empty();
        let commit = said("git", &["rev-parse", "--short", "HEAD"])?;
        Ok(Self {
            date: said("date", &["-u", "+%Y-%m-%d"])?,
            machine: machine()?,
            rustc: said("rustc", &["--version"])?,
            commit: if changed { format!("{commit}, with changes") } else { commit },
            versions,
        })
    }

    /// Returns the facts as two lines.
    pub(super) fn text(&self) -> String {
        let Self { date, machine, rustc, commit, versions } = self;
        let versions: Vec<String> =
            versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!("{date}, {machine}, {rustc}, commit {commit}.\n{}.", versions.join("; "))
    }

    pub(super) fn json(&self) -> Value {
        let versions: serde_json::Map<_, _> =
            self.versions.iter().map(|(name, version)| (name.clone(), version.clone().into())).collect();
        json!({
            "date": self.date, "machine": self.machine, "rustc": self.rustc, "commit": self.commit,
            "versions": versions,
        })
    }
}

fn crates(root: &Path) -> Result<Vec<(String, String)>> {
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("could not read Cargo.lock")?;
    let version = |name: &str| {
        let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        after.split('"').next().map(str::to_owned)
    };
    Ok(CRATES.iter().filter_map(|name| Some(((*name).to_owned(), version(name)?))).collect())
}

fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    Ok(format!("{model}, {cores} cores, {}", std::env::consts::OS))
}
