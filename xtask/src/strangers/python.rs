//! Virtual environments of Python with packages of PyPI in fixed versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::apt_install;
use crate::process::{capture, run, say};

/// The content of a virtual environment.
pub(crate) struct Environment<'a> {
    /// The names of the packages, for messages.
    pub(crate) what: &'a str,
    /// The packages with their versions, in pip's format.
    pub(crate) packages: &'a str,
    /// A program that fails if the packages are missing, and prints their versions or a name.
    pub(crate) check: &'a str,
}

impl Environment<'_> {
    /// Returns the interpreter of the environment in `folder`. An environment with different packages is made again.
    ///
    /// # Errors
    /// PyPI cannot be reached, or a package cannot be imported. The error names the packages.
    pub(crate) fn set_up(&self, folder: &Path) -> Result<PathBuf> {
        let what = self.what;
        let python = folder.join("bin").join("python");
        // This file is written last, so an interrupted set-up starts again.
        let complete = folder.join("complete.txt");
        let is_ours = fs::read_to_string(&complete).is_ok_and(|packages| packages == self.packages);
        if is_ours && let Ok(versions) = capture(&mut self.import_check(&python)) {
            say(&format!("set-up: {what}: {}, found", versions.trim()));
            return Ok(python);
        }
        say(&format!("set-up: installing {what} in {}", folder.display()));
        create(folder)?;
        fs::write(folder.join("packages.txt"), self.packages)?;
        run(Command::new(&python).current_dir(folder).stdin(Stdio::null()).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            // Python compiles a module at its first import in a test. The Graph SDK has thousands of modules.
            "--no-compile",
            "--requirement",
            "packages.txt",
        ]))
        .with_context(|| format!("set-up: could not install {what} from PyPI; is the network reachable?"))?;
        let versions = capture(&mut self.import_check(&python))
            .with_context(|| format!("set-up: {what} cannot be imported"))?;
        fs::write(complete, self.packages)?;
        say(&format!("set-up: {what}: {}, installed", versions.trim()));
        Ok(python)
    }

    fn import_check(&self, python: &Path) -> Command {
        let mut command = Command::new(python);
        command.args(["-c", self.check]);
        command
    }
}

fn create(folder: &Path) -> Result<()> {
    // Debian's python3 does not contain the modules for a virtual environment.
    if capture(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        apt_install(&["python3-venv"])?;
    }
    make_venv(folder).context("set-up: could not make a Python virtual environment")
}

fn make_venv(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    capture(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    Ok(())
}
