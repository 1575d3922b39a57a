//! The files that the archive and the Debian package install, below one prefix.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::licences;
use super::release::Release;
use super::sbom;
use super::tree::{FILE, PROGRAM, Tree};
use crate::process::capture;

/// The folder of the documents below the prefix.
pub(super) const DOCUMENTS: &str = "share/doc/certbound";

/// Returns the shells, each with the file in which it looks for completions. The folder of zsh differs between systems.
fn completions(zsh: &str) -> [(&'static str, String); 3] {
    [
        ("bash", "share/bash-completion/completions/certbound".to_owned()),
        ("zsh", format!("share/zsh/{zsh}/_certbound")),
        ("fish", "share/fish/vendor_completions.d/certbound.fish".to_owned()),
    ]
}

/// The paths of the files of a package.
pub(super) struct Layout<'a> {
    /// The prefix inside the tree, such as `usr/`. It is empty or ends with a slash.
    pub(super) prefix: &'a str,
    /// The path of the program on the target system.
    pub(super) program: &'a str,
    /// The folder of zsh's completions below `share/zsh`.
    pub(super) zsh: &'a str,
}

/// Installs the program, completions, manual pages, units, documents, licences and the bill of materials into a tree.
pub(super) fn install(release: &Release, tree: &Tree, layout: &Layout<'_>) -> Result<()> {
    let prefix = layout.prefix;
    tree.copy(&release.program, &format!("{prefix}bin/certbound"), PROGRAM)?;
    for (shell, path) in completions(layout.zsh) {
        let script = capture(Command::new(&release.program).args(["completions", shell]))?;
        tree.write(&format!("{prefix}{path}"), script, FILE)?;
    }
    manual_pages(release, tree, &format!("{prefix}share/man/man1"))?;
    let packaging = release.root.join("packaging");
    for unit in files(&packaging.join("systemd"))? {
        let path = match unit.rsplit_once('.').map(|(_, kind)| kind) {
            Some("service" | "socket") => format!("{prefix}lib/systemd/system/{unit}"),
            Some("conf") => format!("{prefix}lib/sysusers.d/certbound.conf"),
            // The archive and the Debian package install the configuration at different paths.
            _ => continue,
        };
        let text = read(&packaging.join("systemd").join(&unit))?;
        tree.write(&path, text.replace("/usr/bin/certbound", layout.program), FILE)?;
    }
    documents(release, tree, &format!("{prefix}{DOCUMENTS}"))
}

/// Installs one manual page for each command.
fn manual_pages(release: &Release, tree: &Tree, folder: &str) -> Result<()> {
    let work = Tree::new(release.out.join("work/man"))?.root;
    capture(Command::new(&release.program).arg("man").arg(&work))?;
    for page in files(&work)? {
        tree.copy(&work.join(&page), &format!("{folder}/{page}"), FILE)?;
    }
    Ok(())
}

fn documents(release: &Release, tree: &Tree, folder: &str) -> Result<()> {
    for file in ["README.md", "CHANGELOG.md", "SECURITY.md"] {
        tree.copy(&release.root.join(file), &format!("{folder}/{file}"), FILE)?;
    }
    for (from, to) in [("docs", "docs"), ("packaging/kubernetes", "kubernetes")] {
        for file in files(&release.root.join(from))? {
            tree.copy(&release.root.join(from).join(&file), &format!("{folder}/{to}/{file}"), FILE)?;
        }
    }
    notices(release, tree, folder)
}

/// Installs the licences, the notices of third parties and the bill of materials.
pub(super) fn notices(release: &Release, tree: &Tree, folder: &str) -> Result<()> {
    for file in ["LICENSE-APACHE", "LICENSE-MIT"] {
        tree.copy(&release.root.join(file), &format!("{folder}/{file}"), FILE)?;
    }
    let notices = licences::notices(&release.dependencies, &release.toolchain)?;
    tree.write(&format!("{folder}/THIRD-PARTY.txt"), notices, FILE)?;
    tree.copy(&release.rust_notices, &format!("{folder}/RUST-LIBRARY.html"), FILE)?;
    let bill = format!("{:#}\n", sbom::document(release));
    tree.write(&format!("{folder}/certbound.cdx.json"), bill, FILE)?;
    Ok(())
}

/// Returns the names of the files in a folder, sorted. Folders in it are left out.
pub(super) fn files(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if names.is_empty() {
        bail!("package: {} has no files", folder.display());
    }
    names.sort();
    Ok(names)
}

pub(super) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))
}
