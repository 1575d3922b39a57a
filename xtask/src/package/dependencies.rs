//! The crates that the program contains.
//!
//! `cargo tree` resolves features as the build does. Tools that use `cargo metadata` also list crates that only a
//! dev-dependency or a different platform turns on, such as `ring`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::build::TARGET;
use crate::process::{capture, cargo};

/// A crate by name and version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) name: String,
    pub(super) version: String,
}

/// A crate of the program.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) id: Id,
    /// The licence as an SPDX expression.
    pub(super) licence: String,
    pub(super) repository: Option<String>,
    pub(super) authors: Vec<String>,
    /// The folder of the sources.
    pub(super) sources: PathBuf,
    /// The SHA-256 of the crate's file in the registry, or `None` for a crate of this workspace.
    pub(super) checksum: Option<String>,
    /// The crates that this crate uses.
    pub(super) uses: Vec<Id>,
}

/// Returns the crates of the program, sorted by name. Procedural macros, build dependencies and dev-dependencies are
/// not among them, because the program does not contain their code.
pub(super) fn of_program(root: &Path) -> Result<Vec<Dependency>> {
    let edges = ["tree", "--locked", "--package", "certbound-cli", "--edges", "normal,no-proc-macro"];
    let tree = capture(cargo(root).args(edges).args(["--target", TARGET, "--prefix", "depth"]))?;
    let metadata = capture(cargo(root).args(["metadata", "--locked", "--format-version", "1"]))?;
    let metadata: Value =
        serde_json::from_str(&metadata).context("package: the output of `cargo metadata`")?;
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("package: Cargo.lock")?;
    let checksums = checksums(&lock)?;
    let mut found = Vec::new();
    for (id, uses) in edges_of(&tree)? {
        let checksum = checksums.get(&id).cloned();
        found.push(describe(&metadata, id, uses, checksum)?);
    }
    Ok(found)
}

/// Reads the output of `cargo tree --prefix depth`. The first line of a crate is followed by the crates that it uses.
fn edges_of(tree: &str) -> Result<BTreeMap<Id, Vec<Id>>> {
    let mut edges: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let text = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let depth: usize =
            line[..line.len() - text.len()].parse().context("package: a depth of `cargo tree`")?;
        let mut words = text.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        let version = words.next().and_then(|version| version.strip_prefix('v'));
        let Some(version) = version.map(str::to_owned).filter(|_| depth <= above.len()) else {
            bail!("package: a line of `cargo tree`: `{line}`");
        };
        let id = Id { name, version };
        above.truncate(depth);
        if let Some(user) = above.last() {
            let uses = edges.entry(user.clone()).or_default();
            if !uses.contains(&id) {
                uses.push(id.clone());
            }
        }
        edges.entry(id.clone()).or_default();
        above.push(id);
    }
    Ok(edges)
}

/// Returns the checksums in a `Cargo.lock`.
fn checksums(lock: &str) -> Result<BTreeMap<Id, String>> {
    let lock: toml::Table = lock.parse().context("package: Cargo.lock")?;
    let packages =
        lock.get("package").and_then(toml::Value::as_array).context("package: Cargo.lock is empty")?;
    let text = |package: &toml::Value, key| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let entry = |package| {
        let id = Id { name: text(package, "name")?, version: text(package, "version")? };
        Some((id, text(package, "checksum")?))
    };
    Ok(packages.iter().filter_map(entry).collect())
}

fn describe(metadata: &Value, id: Id, uses: Vec<Id>, checksum: Option<String>) -> Result<Dependency> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let package =
        packages.iter().find(|package| package["name"] == id.name && package["version"] == id.version);
    let package = package.with_context(|| format!("package: {} is not in `cargo metadata`", id.name))?;
    let text = |key: &str| package[key].as_str().map(str::to_owned);
    let manifest = text("manifest_path").map(PathBuf::from);
    let sources = manifest.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let authors = package["authors"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Dependency {
        licence: spdx(&text("license").with_context(|| format!("package: {} names no licence", id.name))?),
        repository: text("repository"),
        authors: authors.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        sources: sources.with_context(|| format!("package: {} has no sources", id.name))?,
        checksum,
        uses,
        id,
    })
}

/// Replaces the slash, which old crates write between two licences.
fn spdx(licence: &str) -> String {
    licence.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, version: &str) -> Id {
        Id { name: name.to_owned(), version: version.to_owned() }
    }

    #[test]
    fn the_tree_gives_each_crate_with_the_crates_that_it_uses() {
        let tree = "0cli v0.1.0 (/somewhere)\n1base64 v0.23.1\n1client v0.1.0 (/elsewhere)\n2base64 v0.22.1\n2bytes v1.12.2\n\
                    1bytes v1.12.2 (*)\n";
        let edges = edges_of(tree).unwrap();
        assert_eq!(edges.len(), 5, "two versions of base64 are two crates");
        let uses = [id("base64", "0.23.1"), id("client", "0.1.0"), id("bytes", "1.12.2")];
        assert_eq!(edges[&id("cli", "0.1.0")], uses);
        assert_eq!(edges[&id("client", "0.1.0")], [id("base64", "0.22.1"), id("bytes", "1.12.2")]);
        assert!(edges[&id("bytes", "1.12.2")].is_empty());
    }

    #[test]
    fn lines_that_are_not_of_a_tree_are_errors() {
        for wrong in ["cli v0.1.0", "0cli", "0cli 0.1.0", "1cli v0.1.0"] {
            assert!(edges_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn checksums_belong_to_a_version() {
        let lock = "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"aa\"\n\
                    [[package]]\nname = \"a\"\nversion = \"2.0.0\"\nchecksum = \"bb\"\n\
                    [[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";
        let found = checksums(lock).unwrap();
        assert_eq!(found[&id("a", "1.0.0")], "aa");
        assert_eq!(found[&id("a", "2.0.0")], "bb");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn an_old_licence_becomes_an_spdx_expression() {
        assert_eq!(spdx("MIT/Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(spdx("Apache-2.0 / MIT"), "Apache-2.0 OR MIT");
        assert_eq!(spdx("(MIT OR Apache-2.0) AND Unicode-3.0"), "(MIT OR Apache-2.0) AND Unicode-3.0");
    }
}
