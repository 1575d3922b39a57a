//! Builds the program of a release so that it runs on old systems: zig links it against the symbols of an old glibc.
//!
//! A static program is not an option with glibc: `getaddrinfo` loads the name services of `/etc/nsswitch.conf` at run
//! time, and these must have the glibc version of the program.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::needs::{Glibc, Needs};
use crate::process::{capture, cargo, run, say};
use crate::strangers::python::Environment;

/// The platform of the packages.
pub(super) const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The oldest glibc with which Rust's standard library works.
const OLDEST_GLIBC: Glibc = (2, 17);
/// The tools of PyPI, with their dependencies.
const TOOLS: &str = "cargo-zigbuild==0.24.1\nziglang==0.17.1\n";
const CHECK: &str =
    "from importlib.metadata import version; print(version('ziglang'), version('cargo-zigbuild'))";

/// A program that is ready to be packed.
pub(super) struct Built {
    pub(super) program: PathBuf,
    /// The folder of zig, if this run built the program. The program then contains zig's `libunwind` and `compiler-rt`.
    pub(super) zig: Option<PathBuf>,
}

/// Builds `certbound` with a profile of `Cargo.toml`.
pub(super) fn program(root: &Path, profile: &str) -> Result<Built> {
    runs_here()?;
    let folder = root.join("target/tools/zig");
    let tools = Environment { what: "zig and cargo-zigbuild", packages: TOOLS, check: CHECK };
    let python = tools.set_up(&folder)?;
    let library = capture(
        Command::new(&python).args(["-c", "import os, ziglang; print(os.path.dirname(ziglang.__file__))"]),
    )?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([folder.join("bin")].into_iter().chain(env::split_paths(&path)))?;
    let (major, minor) = OLDEST_GLIBC;
    run(cargo(root)
        .args(["zigbuild", "--locked", "--package", "certbound-cli", "--bin", "certbound"])
        .args(["--profile", profile, "--target", &format!("{TARGET}.{major}.{minor}")])
        .env("PATH", path)
        .env("CARGO_ENCODED_RUSTFLAGS", without_local_paths(root)?))
    .context("package: the program could not be built")?;
    let output = if profile == "dev" { "debug" } else { profile };
    let program = root.join("target").join(TARGET).join(output).join("certbound");
    check_glibc(&Needs::of(&program)?)?;
    Ok(Built { program, zig: Some(PathBuf::from(library.trim())) })
}

/// Refuses a program that does not start on the oldest system of docs/deploy.md.
fn check_glibc(needs: &Needs) -> Result<()> {
    let (major, minor) = OLDEST_GLIBC;
    if needs.glibc > Some(OLDEST_GLIBC) {
        bail!(
            "package: the program {needs}, which is newer than {major}.{minor}: find the symbol by `objdump -T`"
        );
    }
    Ok(())
}

/// Takes a program that was built before, by any linker.
pub(super) fn given(program: PathBuf) -> Result<Built> {
    runs_here()?;
    if !fs::metadata(&program).is_ok_and(|facts| facts.is_file()) {
        bail!("package: there is no program at {}", program.display());
    }
    say(&format!("package: packing {}", program.display()));
    Ok(Built { program, zig: None })
}

/// Checks that the program can run on this machine: it prints its manual pages and completions itself.
fn runs_here() -> Result<()> {
    if cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    bail!("package: packages for {TARGET} can only be made on this platform")
}

/// Returns flags that replace the folders of this machine in the texts of panics. Cargo separates the flags by U+001F.
fn without_local_paths(root: &Path) -> Result<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let home = home.context("package: neither CARGO_HOME nor HOME is set")?;
    Ok([(home.as_path(), "/cargo"), (root, "/certbound")]
        .map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display()))
        .join("\u{1f}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_newer_glibc_is_refused() {
        let needs = |glibc| Needs { libraries: vec!["libc.so.6".to_owned()], glibc, linker: None };
        for accepted in [None, Some((2, 2)), Some((2, 17))] {
            check_glibc(&needs(accepted)).unwrap();
        }
        let error = check_glibc(&needs(Some((2, 34)))).unwrap_err().to_string();
        assert!(error.contains("2.34") && error.contains("2.17"), "{error}");
    }
}
