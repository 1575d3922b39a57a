//! Tests that `cargo xtask layering` accepts this workspace, and refuses each planted violation with its reason.
#![expect(clippy::unwrap_used, reason = "tests; clippy excuses only the test functions themselves")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

#[test]
fn this_workspace_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert_eq!(layering(&root), Ok(()));
}

#[test]
fn a_workspace_in_the_right_layers_passes() {
    assert_eq!(Fixture::new().check(), Ok(()));
}

#[test]
fn the_core_on_one_of_ours_fails() {
    let fixture =
        Fixture::new().package("certbound-verifier", &[]).package("certbound-core", &["certbound-verifier"]);
    fixture.fails_with("certbound-core depends on certbound-verifier; it may use none of our packages");
}

#[test]
fn the_core_on_a_runtime_fails_even_when_optional() {
    let fixture = Fixture::new().outside("tokio", &[]).package("certbound-core", &["tokio"]);
    fixture.fails_with("certbound-core depends on tokio; the core has no runtime, socket or TLS");
    let fixture = Fixture::new().outside("rustls", &[]);
    fixture.append(
        "certbound-core",
        "\n[dependencies]\nrustls = { path = \"../../../outside/rustls\", optional = true }\n",
    );
    fixture.fails_with("certbound-core depends on rustls; the core has no runtime, socket or TLS");
}

#[test]
fn the_core_on_a_runtime_through_others_fails() {
    let fixture = Fixture::new()
        .outside("hyper", &[])
        .outside("middleman", &["hyper"])
        .package("certbound-core", &["middleman"]);
    fixture.fails_with("certbound-core reaches hyper: certbound-core -> middleman -> hyper");
}

#[test]
fn client_and_emulator_on_one_another_fail() {
    let fixture = Fixture::new().package("certbound-emulator", &["certbound-core", "certbound"]);
    fixture
        .fails_with("certbound-emulator depends on certbound; it may use certbound-core, certbound-https, certbound-serve, certbound-verifier");
    let fixture = Fixture::new().package("certbound", &["certbound-core", "certbound-emulator"]);
    fixture.fails_with("certbound depends on certbound-emulator; it may use certbound-core, certbound-https");
}

#[test]
fn the_servers_crate_serves_others_and_uses_none() {
    let serve = || Fixture::new().package("certbound-serve", &[]);
    let others = serve().package("certbound-verifier", &["certbound-core", "certbound-serve"]);
    assert_eq!(others.check(), Ok(()));
    let fixture = Fixture::new().package("certbound-serve", &["certbound-core"]);
    fixture.fails_with("certbound-serve depends on certbound-core; it may use none of our packages");
    let fixture = serve().package("certbound", &["certbound-core", "certbound-serve"]);
    fixture.fails_with("certbound depends on certbound-serve; it may use certbound-core, certbound-https");
}

#[test]
fn the_https_client_serves_others_and_uses_the_core() {
    let https = |uses: &[&str]| Fixture::new().package("certbound-https", uses);
    let others = https(&["certbound-core"]).package("certbound", &["certbound-core", "certbound-https"]);
    assert_eq!(others.check(), Ok(()));
    let fixture = https(&[]).package("certbound-serve", &["certbound-https"]);
    fixture.fails_with("certbound-serve depends on certbound-https; it may use none of our packages");
}

#[test]
fn the_emulator_may_use_the_verifier() {
    let fixture = Fixture::new()
        .package("certbound-verifier", &["certbound-core"])
        .package("certbound-emulator", &["certbound-core", "certbound-verifier"]);
    assert_eq!(fixture.check(), Ok(()));
}

#[test]
fn the_testkit_outside_dev_dependencies_fails() {
    let fixture = Fixture::new().package("certbound-cli", &["certbound", "certbound-testkit"]);
    fixture.fails_with("certbound-cli depends on certbound-testkit, which is for [dev-dependencies] only");
}

#[test]
fn the_command_line_as_a_library_fails() {
    let fixture = Fixture::new().package("certbound-testkit", &["certbound-cli"]);
    fixture.fails_with("certbound-testkit depends on certbound-cli; it may use");
}

#[test]
fn a_package_without_a_rule_fails() {
    let fixture = Fixture::new().package("certbound-extra", &[]);
    fixture.fails_with("certbound-extra is missing in the layering");
}

#[test]
fn a_clock_a_file_a_socket_the_environment_and_a_thread_in_the_core_fail() {
    for (planted, reason) in [
        (
            "pub fn now() { std::time::SystemTime::now(); }",
            "lib.rs: uses std::time::SystemTime::now; time is an argument",
        ),
        ("use std::time::{Duration, Instant};", "lib.rs: uses std::time::Instant; time is an argument"),
        ("use std::{fmt, fs};", "lib.rs: uses std::fs; the caller reads files"),
        ("use std::net::TcpStream;", "lib.rs: uses std::net::TcpStream; the core has no socket"),
        ("use std::env;", "lib.rs: uses std::env; settings are arguments"),
        (
            "pub fn f() { std::thread::yield_now(); }",
            "lib.rs: uses std::thread::yield_now; the core has no threads",
        ),
    ] {
        let fixture = Fixture::new();
        let source = fixture.folder("certbound-core").join("src/lib.rs");
        fs::write(source, format!("// std::fs in a comment is no use of it\n{planted}\n")).unwrap();
        fixture.fails_with(reason);
    }
}

#[test]
fn an_import_from_above_or_from_the_same_floor_fails() {
    let drawn = "//! ```text\n//! 3 lib.rs\n//! 2 client/ cache/\n//! 1 error/\n//! ```\nmod cache; mod client; mod error;\n";
    let house = |file: &str, text: &str| {
        let fixture = Fixture::new();
        let source = fixture.folder("certbound").join("src");
        for (name, content) in [("lib.rs", drawn), ("client.rs", "use crate::error::E;"), ("cache.rs", "")] {
            fs::write(source.join(name), content).unwrap();
        }
        fs::write(source.join("error.rs"), "pub struct E; #[cfg(test)] mod tests { use crate::client; }")
            .unwrap();
        fs::create_dir_all(source.join("error")).unwrap();
        fs::write(source.join(file), text).unwrap();
        fixture
    };
    assert_eq!(house("error/kind.rs", "use super::E;").check(), Ok(()));
    house("error/kind.rs", "fn f() { crate::client::ask() }")
        .fails_with("certbound: error/kind.rs imports `client::ask`, which is not on a lower floor");
    house("cache.rs", "use super::client::C;")
        .fails_with("cache.rs imports `client::C`, which is not on a lower floor");
    house("cache.rs", "use crate::Client;")
        .fails_with("cache.rs imports `Client`, which is not on a lower floor");
    house("clock.rs", "").fails_with("the drawing in lib.rs does not contain `clock`");
}

/// A workspace of empty packages in the right layers, into which a test plants a violation. Packages for third parties
/// are beside it, so that no registry is needed.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(fixture.root()).unwrap();
        fs::write(
            fixture.root().join("Cargo.toml"),
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n",
        )
        .unwrap();
        let fixture = fixture
            .package("certbound-core", &[])
            .package("certbound", &["certbound-core"])
            .package("certbound-emulator", &["certbound-core"])
            .package("certbound-cli", &["certbound-core", "certbound", "certbound-emulator"])
            .package("certbound-testkit", &["certbound", "certbound-emulator"]);
        fixture.append(
            "certbound",
            "\n[dev-dependencies]\ncertbound-testkit = { path = \"../certbound-testkit\" }\n",
        );
        fixture
    }

    /// Adds or replaces one of our packages. A dependency that is not ours must have been added by `outside`.
    fn package(self, name: &str, dependencies: &[&str]) -> Self {
        write_package(&self.folder(name), name, dependencies);
        self
    }

    fn outside(self, name: &str, dependencies: &[&str]) -> Self {
        write_package(&self.folder.path().join("outside").join(name), name, dependencies);
        self
    }

    fn append(&self, name: &str, text: &str) {
        let manifest = self.folder(name).join("Cargo.toml");
        let before = fs::read_to_string(&manifest).unwrap().replace("[dependencies]\n", "");
        fs::write(manifest, before + text).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root().join("crates").join(name)
    }

    fn check(&self) -> Result<(), String> {
        layering(&self.root())
    }

    #[track_caller]
    fn fails_with(&self, reason: &str) {
        let said = self.check().unwrap_err();
        assert!(said.contains(reason), "wanted `{reason}` in:\n{said}");
    }
}

fn write_package(folder: &Path, name: &str, dependencies: &[&str]) {
    let mut manifest =
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n");
    for dependency in dependencies {
        // Our packages are in crates/ of the workspace, third parties are beside the workspace.
        let is_third_party = !dependency.starts_with("certbound");
        let is_outside = folder.parent().unwrap().ends_with("outside");
        let path = if is_third_party && !is_outside {
            format!("../../../outside/{dependency}")
        } else {
            format!("../{dependency}")
        };
        manifest += &format!("{dependency} = {{ path = \"{path}\" }}\n");
    }
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
}

/// Returns the error output of the check, if it failed.
fn layering(root: &Path) -> Result<(), String> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(["layering", "--root"]).arg(root).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8(output.stderr).unwrap()) }
}
