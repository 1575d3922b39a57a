//! Go with MSAL for Go, if this machine has both. `cargo xtask bench` installs neither of them: no registry that we use
//! has the library, and Debian has it only since release 13.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{capture, on_path, say};

/// The folder of Debian for the sources of Go libraries
/// (`golang-github-azuread-microsoft-authentication-library-for-go-dev`).
const SOURCES: &str = "/usr/share/gocode";
/// The path of the library in this folder.
const LIBRARY: &str = "src/github.com/AzureAD/microsoft-authentication-library-for-go/apps";

/// The built program that the benchmark runs.
pub(crate) struct Go {
    pub(crate) worker: PathBuf,
    pub(crate) version: String,
}

/// Builds the program from Debian's sources, or from the sources that `CERTBOUND_GOPATH` names.
///
/// # Errors
/// Go or the library is missing, or the program does not build.
pub(crate) fn worker(root: &Path) -> Result<Go> {
    let Some(go) = on_path("go") else {
        bail!("go is not on PATH (Debian: golang-go)");
    };
    let sources = std::env::var_os("CERTBOUND_GOPATH").map_or_else(|| PathBuf::from(SOURCES), PathBuf::from);
    let library = sources.join(LIBRARY);
    let Ok(version) = fs::read_to_string(library.join("internal/version/version.go")) else {
        bail!(
            "MSAL is not in {} (Debian 13: golang-github-azuread-microsoft-authentication-library-for-go-dev)",
            sources.display()
        );
    };
    let version = version.split('"').nth(1).unwrap_or("unknown version");
    let folder = root.join("target/strangers/go");
    fs::create_dir_all(&folder)?;
    let worker = folder.join("msal_worker");
    capture(
        Command::new(&go)
            .args(["build", "-o"])
            .arg(&worker)
            .arg(root.join("benches/peers/msal_worker.go"))
            .env("GO111MODULE", "off")
            .env("GOPATH", &sources)
            .env("GOCACHE", folder.join("cache"))
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0"),
    )
    .context("MSAL for Go does not build")?;
    let toolchain = capture(Command::new(&go).args(["env", "GOVERSION"]))?;
    let version = format!("{version} on {}", toolchain.trim());
    say(&format!("set-up: MSAL for Go: {version}"));
    Ok(Go { worker, version })
}
