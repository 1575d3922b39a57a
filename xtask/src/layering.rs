//! `cargo xtask layering`: checks the imports between packages, and the packages and parts of `std` that
//! `certbound-core` uses.
//!
//! `floors` checks the order of the modules in a crate.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::core_std::forbidden_uses;
use crate::floors;
use crate::process::{capture, cargo, locked, say};

const CORE: &str = "certbound-core";
const HTTPS: &str = "certbound-https";
const SERVE: &str = "certbound-serve";
const CLIENT: &str = "certbound";
const VERIFIER: &str = "certbound-verifier";
const EMULATOR: &str = "certbound-emulator";
const CLI: &str = "certbound-cli";
const OPENSSL: &str = "certbound-openssl";
const TPM: &str = "certbound-tpm";
const OTEL: &str = "certbound-otel";
const PKCS11: &str = "certbound-pkcs11";
const TESTKIT: &str = "certbound-testkit";

/// Each entry has one of our packages, and those of our packages that it may use outside its dev-dependencies. A
/// package that is missing here is a violation.
const MAY_IMPORT: [(&str, &[&str]); 15] = [
    (CORE, &[]),
    (HTTPS, &[CORE]),
    (SERVE, &[]),
    (CLIENT, &[CORE, HTTPS]),
    (VERIFIER, &[CORE, HTTPS, SERVE]),
    (EMULATOR, &[CORE, HTTPS, SERVE, VERIFIER]),
    (OPENSSL, &[CORE, CLIENT]),
    (OTEL, &[CORE, CLIENT, VERIFIER]),
    (PKCS11, &[CORE, CLIENT]),
    (TPM, &[CORE, CLIENT]),
    (CLI, &[CORE, SERVE, CLIENT, VERIFIER, EMULATOR, OPENSSL, OTEL, PKCS11, TPM]),
    (TESTKIT, &[CORE, CLIENT, VERIFIER, EMULATOR]),
    ("certbound-benches", &[]),
    ("certbound-soak", &[]),
    ("xtask", &[]),
];

/// Packages that would give the core a runtime, a socket or a TLS stack. These packages are forbidden as indirect
/// dependencies too.
const NOT_IN_CORE: [&str; 22] = [
    "async-std",
    "axum",
    "curl",
    "h2",
    "hyper",
    "hyper-rustls",
    "hyper-util",
    "isahc",
    "mio",
    "native-tls",
    "openssl",
    "quinn",
    "reqwest",
    "rustls",
    "rustls-native-certs",
    "rustls-platform-verifier",
    "smol",
    "socket2",
    "surf",
    "tokio",
    "tokio-rustls",
    "ureq",
];

/// Checks the workspace at `root`. Prints every violation before it fails.
pub(crate) fn run(root: &Path) -> Result<()> {
    let graph = Graph::read(root)?;
    let mut violations = imports(&graph);
    violations.extend(reached_by_core(&graph)?);
    violations.extend(used_by_core(&graph)?);
    violations.extend(floors::violations(root)?);
    for violation in &violations {
        eprintln!("layering: {violation}");
    }
    if !violations.is_empty() {
        bail!("layering: {} violation(s)", violations.len());
    }
    say(&format!("layering: {} packages, no violation", graph.ours.len()));
    Ok(())
}

fn imports(graph: &Graph) -> Vec<String> {
    let mut violations = Vec::new();
    for package in &graph.ours {
        let name = &package.name;
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| known == name) else {
            violations.push(format!(
                "{name} is missing in the layering; add it to MAY_IMPORT in xtask/src/layering.rs"
            ));
            continue;
        };
        for import in package.imports.iter().filter(|import| graph.is_ours(import)) {
            if import == TESTKIT {
                violations.push(format!("{name} depends on {TESTKIT}, which is for [dev-dependencies] only"));
            } else if !allowed.contains(&import.as_str()) {
                let allowed =
                    if allowed.is_empty() { "none of our packages".to_owned() } else { allowed.join(", ") };
                violations.push(format!("{name} depends on {import}; it may use {allowed}"));
            }
        }
        if name == CORE {
            // The declared dependencies include optional dependencies and the dependencies of other platforms.
            for import in package.imports.iter().filter(|import| NOT_IN_CORE.contains(&import.as_str())) {
                violations
                    .push(format!("{CORE} depends on {import}; the core has no runtime, socket or TLS"));
            }
        }
    }
    violations
}

/// Returns the forbidden packages that the core reaches through other packages. `imports` reports direct dependencies.
fn reached_by_core(graph: &Graph) -> Result<Vec<String>> {
    let core = graph.core()?;
    let mut came_from: HashMap<&str, &str> = HashMap::new();
    let mut queue = VecDeque::from([core.id.as_str()]);
    let mut violations = Vec::new();
    while let Some(id) = queue.pop_front() {
        for next in graph.edges.get(id).into_iter().flatten() {
            if next == &core.id || came_from.contains_key(next.as_str()) {
                continue;
            }
            came_from.insert(next, id);
            let name = graph.name(next);
            if !NOT_IN_CORE.contains(&name) {
                queue.push_back(next);
            } else if id != core.id {
                let mut way = vec![name];
                let mut at = next.as_str();
                while let Some(before) = came_from.get(at) {
                    way.push(graph.name(before));
                    at = before;
                }
                way.reverse();
                violations.push(format!("{CORE} reaches {name}: {}", way.join(" -> ")));
            }
        }
    }
    Ok(violations)
}

fn used_by_core(graph: &Graph) -> Result<Vec<String>> {
    let folder = &graph.core()?.folder;
    let mut violations = Vec::new();
    for file in rust_files(&folder.join("src"))? {
        let source =
            fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
        let shown = file.strip_prefix(folder).unwrap_or(&file).display();
        let found = forbidden_uses(&source).with_context(|| format!("could not parse {}", file.display()))?;
        for (path, instead) in found {
            violations.push(format!("{CORE}/{shown}: uses {path}; {instead}"));
        }
    }
    Ok(violations)
}

pub(crate) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The result of `cargo metadata` without dev-dependencies, because dev-dependencies are not shipped and may be any
/// package.
struct Graph {
    ours: Vec<Package>,
    names: HashMap<String, String>,
    /// For each package id, the ids of its dependencies on this platform.
    edges: HashMap<String, HashSet<String>>,
}

struct Package {
    id: String,
    name: String,
    folder: PathBuf,
    imports: Vec<String>,
}

impl Graph {
    fn read(root: &Path) -> Result<Self> {
        let version = capture(cargo(root).arg("-vV"))?;
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("`cargo -vV` names no host")?;
        let json = capture(
            cargo(root)
                .args(["metadata", "--format-version", "1", "--filter-platform", host])
                .args(locked(root)),
        )?;
        Self::parse(&serde_json::from_str(&json)?)
            .context("the output of `cargo metadata` has an unknown form")
    }

    fn parse(metadata: &Value) -> Option<Self> {
        let members: HashSet<&str> = list(metadata, "workspace_members")?.filter_map(Value::as_str).collect();
        let mut ours = Vec::new();
        let mut names = HashMap::new();
        for package in list(metadata, "packages")? {
            let (id, name) = (text(package, "id")?, text(package, "name")?);
            names.insert(id.to_owned(), name.to_owned());
            if members.contains(id) {
                let imports = list(package, "dependencies")?.filter(|import| is_shipped(import));
                ours.push(Package {
                    id: id.to_owned(),
                    name: name.to_owned(),
                    folder: Path::new(text(package, "manifest_path")?).parent()?.to_path_buf(),
                    imports: imports.filter_map(|import| Some(text(import, "name")?.to_owned())).collect(),
                });
            }
        }
        let mut edges = HashMap::new();
        for node in list(metadata.get("resolve")?, "nodes")? {
            let mut to = HashSet::new();
            for edge in list(node, "deps")? {
                if list(edge, "dep_kinds")?.any(is_shipped) {
                    to.insert(text(edge, "pkg")?.to_owned());
                }
            }
            edges.insert(text(node, "id")?.to_owned(), to);
        }
        Some(Self { ours, names, edges })
    }

    fn core(&self) -> Result<&Package> {
        let core = self.ours.iter().find(|package| package.name == CORE);
        core.with_context(|| format!("layering: the workspace has no {CORE}"))
    }

    fn is_ours(&self, name: &str) -> bool {
        self.ours.iter().any(|package| package.name == name)
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }
}

fn is_shipped(edge: &Value) -> bool {
    text(edge, "kind") != Some("dev")
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member)?.as_str()
}

fn list<'a>(value: &'a Value, member: &str) -> Option<std::slice::Iter<'a, Value>> {
    Some(value.get(member)?.as_array()?.iter())
}
