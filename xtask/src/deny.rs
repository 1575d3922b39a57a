//! `cargo xtask deny`: checks the dependencies by cargo-deny against `deny.toml`, and by cargo for pre-releases and
//! yanked versions.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{WITHOUT_HEADERS, capture, cargo, on_path, run, say};

const VERSION: &str = "0.20.2";

/// The packages that no other project depends on as a library. They may depend on pre-releases.
const NO_LIBRARIES: [&str; 5] =
    ["certbound-benches", "certbound-cli", "certbound-soak", "certbound-testkit", "xtask"];
/// The packages that are never published.
const UNPUBLISHED: [&str; 4] = ["certbound-benches", "certbound-soak", "certbound-testkit", "xtask"];

/// Checks bans (including duplicates), licences, sources, pre-releases and yanked versions.
///
/// This function does NOT check security advisories: no registry that CI can reach contains the database of advisories.
/// See `deny.toml`.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    let cargo_deny = find_or_install(root)?;
    // Dependencies of tests and of the benchmark are not shipped. They may be banned crates, but they must have an
    // allowed licence.
    let check =
        |arguments: &[&str]| run(Command::new(&cargo_deny).current_dir(root).arg("--locked").args(arguments));
    check(&["--exclude-dev", "check", "bans"])?;
    check(&["check", "licenses", "sources"])?;
    no_headers(root)?;
    no_pre_releases(root)?;
    no_yanked_versions(root)?;
    say(
        "deny: security advisories were not checked: with access to GitHub, run `cargo deny check advisories`",
    );
    Ok(())
}

/// Checks that a build with default features contains neither OpenSSL nor the TPM Software Stack, on any target: the
/// build would need their headers. `deny.toml` has the same rule for all features, with `certbound-openssl` and
/// `certbound-tpm` as the only exceptions.
fn no_headers(root: &Path) -> Result<()> {
    let tree =
        ["tree", "--locked", "--workspace", "--edges", "normal,build", "--target", "all", "--prefix", "none"];
    let printed = capture(cargo(root).args(tree).args(WITHOUT_HEADERS))?;
    let found = need_headers(&printed);
    if !found.is_empty() {
        bail!(
            "deny: a build with default features contains {}; only certbound-openssl and certbound-tpm may",
            found.join(", ")
        );
    }
    say("deny: neither OpenSSL nor the TPM Software Stack in a build with default features");
    Ok(())
}

/// Returns the lines of `cargo tree` whose package needs the headers of libssl or libtss2.
fn need_headers(tree: &str) -> Vec<&str> {
    let needs = |line: &&str| {
        let name = line.split_whitespace().next();
        matches!(
            name,
            Some(
                "openssl"
                    | "openssl-sys"
                    | "openssl-src"
                    | "tokio-openssl"
                    | "certbound-openssl"
                    | "tss-esapi"
                    | "tss-esapi-sys"
                    | "certbound-tpm"
            )
        )
    };
    let mut found: Vec<&str> = tree.lines().filter(needs).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Checks that users of our libraries get no pre-releases by default, on any target.
fn no_pre_releases(root: &Path) -> Result<()> {
    let tree = ["tree", "--locked", "--workspace", "--edges", "normal,build", "--target", "all"];
    let mut command = cargo(root);
    command.args(tree).args(["--prefix", "none"]);
    for package in NO_LIBRARIES {
        command.args(["--exclude", package]);
    }
    let printed = capture(&mut command)?;
    let found = pre_releases(&printed);
    if !found.is_empty() {
        bail!("deny: pre-releases among the libraries' default dependencies: {}", found.join(", "));
    }
    say("deny: no pre-releases among the libraries' default dependencies");
    Ok(())
}

/// Returns the lines of `cargo tree` whose version is a pre-release (Semantic Versioning 2.0, item 9).
fn pre_releases(tree: &str) -> Vec<&str> {
    let mut found: Vec<&str> = tree.lines().filter(|line| is_pre_release(line)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns whether the version of a line is a pre-release. The line begins with `name vVERSION`.
fn is_pre_release(line: &str) -> bool {
    let version = line.split_whitespace().nth(1).unwrap_or_default();
    // The text after a plus is build metadata, which may contain a hyphen.
    version.split('+').next().is_some_and(|version| version.contains('-'))
}

/// Checks that the lock file contains no yanked version. `cargo package` looks up each version in the registry and
/// warns about yanked versions.
fn no_yanked_versions(root: &Path) -> Result<()> {
    let mut command = cargo(root);
    command.args(["package", "--locked", "--workspace", "--no-verify", "--allow-dirty"]);
    for package in UNPUBLISHED {
        command.args(["--exclude", package]);
    }
    say("deny: packing every published crate, to find yanked versions");
    let output = command.output().context("could not start `cargo package`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("deny: the crates cannot be packed: {}", said.trim());
    }
    let yanked = yanked(&said);
    if !yanked.is_empty() {
        bail!("deny: {}; run `cargo update` to get a different version", yanked.join("; "));
    }
    say("deny: no yanked versions");
    Ok(())
}

fn yanked(said: &str) -> Vec<&str> {
    let mut found: Vec<&str> = said.lines().filter(|line| line.contains("is yanked")).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn find_or_install(root: &Path) -> Result<PathBuf> {
    let tools = root.join("target").join("tools");
    let ours = tools.join("bin").join("cargo-deny");
    if let Some(found) = on_path("cargo-deny").or_else(|| ours.exists().then(|| ours.clone())) {
        say(&format!("deny: {}, found", capture(Command::new(&found).arg("--version"))?.trim()));
        return Ok(found);
    }
    say(&format!(
        "deny: cargo-deny is not on PATH; building version {VERSION} once into target/tools, which takes some minutes"
    ));
    run(cargo(root)
        .args(["install", "--quiet", "--locked", &format!("cargo-deny@{VERSION}"), "--root"])
        .arg(&tools)
        // cargo-deny runs for one second, so a short build matters more than a fast program.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"))
    .context("cargo-deny could not be installed; check the network, or run `cargo install cargo-deny`")?;
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pre_release_is_told_from_build_metadata() {
        let tree = "certbound v0.1.0 (/somewhere/a-folder)\ncms v0.3.0-pre.1\nwasi v0.11.1+wasi-snapshot-preview1\n\
                    toml v1.2.1+spec-1.1.0\npkcs12 v0.2.0-pre.0\ncms v0.3.0-pre.1 (*)\n\nserde v1.0.229 (proc-macro)\n";
        assert_eq!(pre_releases(tree), ["cms v0.3.0-pre.1", "cms v0.3.0-pre.1 (*)", "pkcs12 v0.2.0-pre.0"]);
    }

    #[test]
    fn crates_that_need_headers_are_told_from_others() {
        let tree = "certbound v0.1.0\nopenssl-probe v0.2.2\nopenssl-sys v0.9.118\nopenssl v0.10.82\nopenssl-sys v0.9.118\ntss-esapi v7.7.0\ntss-esapi-sys v0.6.0\ncertbound-tpm v0.1.0\n";
        assert_eq!(
            need_headers(tree),
            [
                "certbound-tpm v0.1.0",
                "openssl v0.10.82",
                "openssl-sys v0.9.118",
                "tss-esapi v7.7.0",
                "tss-esapi-sys v0.6.0"
            ]
        );
    }

    /// This is the output of cargo 1.95.
    #[test]
    fn a_yanked_version_is_read_from_what_cargo_says() {
        let said = "   Packaging yk v0.1.0 (/somewhere)\n    Updating crates.io index\nwarning: package `futures-util v0.3.30` in \
                    Cargo.lock is yanked in registry `crates-io`, consider updating to a version that is not yanked\n    \
                    Packaged 4 files\n";
        assert_eq!(yanked(said).len(), 1);
        assert!(yanked(said)[0].contains("`futures-util v0.3.30`"));
        assert!(yanked("    Packaged 4 files\n").is_empty());
    }
}
