//! `cargo xtask package check`: installs each file of the release in a fresh root, and runs the demo there.
//!
//! The roots of the archive and the Debian package are minimal installations of Debian 12. The image's root is the
//! content of its layers.

mod image;
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::root::Root;
use super::Kind;
use super::contents::files;
use super::release::CHECKSUMS;
use crate::process::{capture, on_path, run as run_aloud, say};
use crate::strangers;
use crate::strangers::python::Environment;

/// The programs of the checks, and their Debian packages.
const PROGRAMS: [(&str, &str); 4] =
    [("debootstrap", "debootstrap"), ("lintian", "lintian"), ("zsh", "zsh"), ("fish", "fish")];
/// The arguments of the demo.
const DEMO: [&str; 3] = ["demo", "--output", "json"];
/// The validator of CycloneDX. Its dependencies are not pinned, because it only reads.
const VALIDATOR: &str = "cyclonedx-python-lib[json-validation]==11.12.0\n";
const VALIDATOR_CHECK: &str = "from cyclonedx.validation.json import JsonStrictValidator; print('CycloneDX')";
const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(f'{sys.argv[1]}: {error}' if error else 0)
";

/// Checks the files that `cargo xtask package` made in `out`.
#[expect(clippy::disallowed_methods, reason = "the duration is only printed")]
pub(super) fn run(workspace: &Path, out: &Path, kinds: &[Kind]) -> Result<()> {
    if capture(Command::new("id").arg("--user"))?.trim() != "0" {
        bail!(
            "package check: mounting file systems and installing packages need root; run it as root or through sudo"
        );
    }
    set_up()?;
    capture(Command::new("sha256sum").current_dir(out).args(["--check", "--strict", CHECKSUMS]))
        .with_context(|| format!("package check: run `cargo xtask package` first; {}", out.display()))?;
    say("package check: the checksums are right");
    for kind in kinds {
        let start = Instant::now();
        match kind {
            Kind::Archive => archive(workspace, out)?,
            Kind::Deb => deb(out)?,
            Kind::Image => image::check(out)?,
        }
        say(&format!("package check: {kind:?} holds ({} s)", start.elapsed().as_secs()));
    }
    Ok(())
}

fn set_up() -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| on_path(program).is_none());
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() { Ok(()) } else { strangers::apt_install(&packages) }
}

fn archive(workspace: &Path, out: &Path) -> Result<()> {
    let archive = named(out, |name| name.ends_with("-linux-gnu.tar.gz"))?;
    let root = Root::fresh(out, "archive")?;
    // An archive declares no dependencies, so docs/deploy.md names this package.
    root.install("ca-certificates")?;
    let prefix = root.path.join("usr/local");
    let mut unpack = Command::new("tar");
    // This is the command of docs/deploy.md.
    unpack
        .args(["--extract", "--gzip", "--strip-components=1", "--no-overwrite-dir", "--file"])
        .arg(&archive);
    run_aloud(unpack.arg("--directory").arg(&prefix))?;
    program(&root, "/usr/local")?;
    let validator =
        Environment { what: "the validator of CycloneDX", packages: VALIDATOR, check: VALIDATOR_CHECK };
    let python = validator.set_up(&workspace.join("target/tools/cyclonedx"))?;
    let bill = prefix.join("share/doc/certbound/certbound.cdx.json");
    capture(Command::new(python).args(["-c", VALIDATE]).arg(bill))?;
    say("package check: the bill of materials is valid CycloneDX 1.6");
    for (shell, file) in [
        ("zsh", "share/zsh/site-functions/_certbound"),
        ("fish", "share/fish/vendor_completions.d/certbound.fish"),
    ] {
        capture(Command::new(shell).arg("-n").arg(prefix.join(file)))?;
    }
    Ok(())
}

fn deb(out: &Path) -> Result<()> {
    let package = named(out, |name| name.ends_with("_amd64.deb"))?;
    run_aloud(Command::new("lintian").args(["--fail-on", "error,warning", "--display-info"]).arg(&package))?;
    let root = Root::fresh(out, "deb")?;
    let before = files_below(&root.path)?;
    fs::copy(&package, root.path.join("certbound.deb"))?;
    root.run(&["apt-get", "--quiet", "--quiet", "update"])?;
    root.run(&[
        "apt-get",
        "--quiet",
        "--quiet",
        "install",
        "--no-install-recommends",
        "--yes",
        "/certbound.deb",
    ])?;
    // dpkg exits with 0 also if a file differs. It prints one line for each file that differs.
    let differs = root.run(&["dpkg", "--verify", "certbound"])?;
    if !differs.trim().is_empty() {
        bail!("package check: installed files differ from the package: {}", differs.trim());
    }
    program(&root, "/usr")?;
    root.run(&["apt-get", "--quiet", "--quiet", "purge", "--yes", "certbound"])?;
    let after = files_below(&root.path)?;
    let left = left_by_the_package(&before, &after);
    if !left.is_empty() {
        bail!("package check: after the purge these files are left: {left:?}");
    }
    Ok(())
}

/// Returns the new files since the list `before` with the name of the package in their paths. The copy of the package
/// itself is omitted. The paths are relative to the root, because the folder of the root can have any name.
fn left_by_the_package<'a>(before: &[String], after: &'a [String]) -> Vec<&'a String> {
    let is_ours = |path: &&String| path.contains("certbound") && *path != "certbound.deb";
    after.iter().filter(is_ours).filter(|path| !before.contains(path)).collect()
}

/// Checks an installed program: its version, its demo, its manual pages and its completions.
fn program(root: &Root, prefix: &str) -> Result<()> {
    say(&format!("package check: {}", root.run(&["certbound", "--version"])?.trim()));
    demo(&mut root.command(&[&["certbound"], DEMO.as_slice()].concat()))?;
    let mut pages = files(&root.path.join(prefix.trim_start_matches('/')).join("share/man/man1"))?;
    pages.retain(|page| page.starts_with("certbound"));
    if pages.is_empty() {
        bail!("package check: there are no manual pages");
    }
    for page in &pages {
        let text = root.run(&["man", "--local-file", &format!("{prefix}/share/man/man1/{page}")])?;
        if !text.contains("SYNOPSIS") {
            bail!("package check: the manual page {page} has no synopsis");
        }
    }
    root.run(&["man", "--path", "certbound-verify"])?;
    root.run(&["bash", "-n", &format!("{prefix}/share/bash-completion/completions/certbound")])?;
    say(&format!("package check: {} manual pages and the completions are readable", pages.len()));
    Ok(())
}

/// Runs the demo, and prints how many of its checks hold.
fn demo(command: &mut Command) -> Result<()> {
    let output = command.output().context("package check: the demo could not be started")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let failed = failed_checks(&printed)
        .with_context(|| format!("package check: the demo: {}", String::from_utf8_lossy(&output.stderr)))?;
    if !failed.is_empty() || !output.status.success() {
        bail!("package check: the demo fails ({}): {}", output.status, failed.join("; "));
    }
    Ok(())
}

/// Reads the JSON of `certbound demo`. Returns the checks that fail.
fn failed_checks(printed: &str) -> Result<Vec<String>> {
    let result: Value = serde_json::from_str(printed).context("its output is not JSON")?;
    let checks =
        result["checks"].as_array().filter(|checks| !checks.is_empty()).context("it made no checks")?;
    let failed: Vec<&Value> = checks.iter().filter(|check| check["ok"] != true).collect();
    say(&format!(
        "package check: the demo: {} checks hold, {} fail",
        checks.len() - failed.len(),
        failed.len()
    ));
    Ok(failed.iter().map(|check| format!("{}: {}", check["id"], check["detail"])).collect())
}

/// Returns the only file in `out` whose name is accepted.
fn named(out: &Path, accept: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let mut found: Vec<String> = files(out)?.into_iter().filter(|name| accept(name)).collect();
    match found.len() {
        1 => Ok(out.join(found.remove(0))),
        0 => {
            bail!("package check: {} does not have this file; run `cargo xtask package` first", out.display())
        }
        _ => bail!("package check: several versions are in {}: {}", out.display(), found.join(", ")),
    }
}

/// Returns the paths of the files below a folder, relative to it.
fn files_below(folder: &Path) -> Result<Vec<String>> {
    let mut find = Command::new("find");
    let listed = capture(find.arg(folder).args(["-xdev", "-not", "-type", "d", "-printf", "%P\\n"]))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_without_checks_is_an_error_and_a_failed_check_is_named() {
        let good = r#"{"checks":[{"id":"leg1.sent","ok":true}],"passed":1,"failed":0}"#;
        assert!(failed_checks(good).unwrap().is_empty());
        let failed = failed_checks(&good.replace("true", "false")).unwrap();
        assert!(failed[0].contains("leg1.sent"), "{failed:?}");
        for wrong in [r#"{"checks":[],"passed":0,"failed":0}"#, "{}", "", "42 checks hold"] {
            assert!(failed_checks(wrong).is_err(), "{wrong}");
        }
    }

    /// A clone is often in a folder with the name of the project.
    #[test]
    fn the_folder_of_the_root_is_no_file_that_a_package_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("certbound/root");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/dpkg"), "").unwrap();
        let before = files_below(&root).unwrap();
        assert_eq!(before, ["usr/bin/dpkg"]);
        for name in ["usr/bin/another", "certbound.deb", "usr/bin/certbound"] {
            fs::write(root.join(name), "").unwrap();
        }
        let after = files_below(&root).unwrap();
        assert_eq!(left_by_the_package(&before, &after), ["usr/bin/certbound"]);
    }

    #[test]
    fn two_versions_in_one_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let is_deb = |name: &str| name.ends_with(".deb");
        fs::write(folder.path().join("SHA256SUMS"), "").unwrap();
        assert!(named(folder.path(), is_deb).is_err());
        fs::write(folder.path().join("certbound_0.1.0_amd64.deb"), "").unwrap();
        assert!(named(folder.path(), is_deb).unwrap().ends_with("certbound_0.1.0_amd64.deb"));
        fs::write(folder.path().join("certbound_0.2.0_amd64.deb"), "").unwrap();
        assert!(named(folder.path(), is_deb).is_err());
    }
}
