//! A minimal installation of Debian 12 in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process::{capture, run, say};

const RELEASE: &str = "bookworm";

pub(super) struct Root {
    pub(super) path: PathBuf,
}

impl Root {
    /// Returns a new copy of the minimal installation. The first call downloads the installation.
    pub(super) fn fresh(out: &Path, name: &str) -> Result<Self> {
        let base = out.join("work/check/base");
        // This file is written last, so an interrupted installation starts again.
        let complete = base.with_extension("complete");
        if !complete.exists() {
            remove(&base)?;
            let mirror = mirror()?;
            say("package check: installing a minimal Debian 12, once");
            run(Command::new("debootstrap")
                .args(["--variant=minbase", "--include=man-db", RELEASE])
                .arg(&base)
                .arg(mirror)
                .stdout(Stdio::null()))?;
            fs::write(complete, "")?;
        }
        let path = out.join("work/check").join(name);
        remove(&path)?;
        capture(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(&base).arg(&path))?;
        fs::copy("/etc/resolv.conf", path.join("etc/resolv.conf"))
            .context("package check: /etc/resolv.conf")?;
        Ok(Self { path })
    }

    /// Runs a command in the root. Returns its output.
    pub(super) fn run(&self, command: &[&str]) -> Result<String> {
        capture(&mut self.command(command))
    }

    /// Returns a command that runs in the root, with file systems and processes of its own.
    pub(super) fn command(&self, command: &[&str]) -> Command {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .arg("--root")
            .arg(&self.path);
        unshare.args(["--", "/usr/bin/env", "--ignore-environment", "--chdir=/", "LC_ALL=C.UTF-8"]);
        unshare.args(["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"]);
        unshare.args(command).stdin(Stdio::null());
        unshare
    }

    /// Installs a package with its dependencies, as an administrator does.
    pub(super) fn install(&self, package: &str) -> Result<()> {
        self.run(&["apt-get", "--quiet", "--quiet", "update"])?;
        self.run(&["apt-get", "--quiet", "--quiet", "install", "--no-install-recommends", "--yes", package])?;
        Ok(())
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    Ok(())
}

/// Returns the mirror that apt of this machine uses.
fn mirror() -> Result<String> {
    let targets = capture(Command::new("apt-get").args(["indextargets", "--format", "$(SITE) $(CODENAME)"]))?;
    site(&targets).context("package check: apt has no mirror of Debian: run `apt-get update`")
}

/// Chooses the line of the release, or else the first line. A mirror has all releases.
fn site(targets: &str) -> Option<String> {
    let sites = || targets.lines().filter_map(|line| line.split_once(' '));
    let chosen = sites().find(|(_, release)| *release == RELEASE).or_else(|| sites().next());
    chosen.map(|(site, _)| site.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_the_release_is_preferred() {
        let targets = "http://security.example/debian-security bookworm-security\nhttp://mirror.example/debian bookworm\n";
        assert_eq!(site(targets).as_deref(), Some("http://mirror.example/debian"));
        assert_eq!(
            site("http://mirror.example/debian trixie\n").as_deref(),
            Some("http://mirror.example/debian")
        );
        assert_eq!(site(""), None);
    }
}
