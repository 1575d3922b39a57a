//! The archive for any distribution. Its folders are those of a prefix such as `/usr/local`.

use std::path::PathBuf;

use anyhow::Result;

use super::contents::{self, DOCUMENTS, Layout};
use super::release::Release;
use super::tar;
use super::tree::{FILE, Tree};

/// Makes `certbound-VERSION-x86_64-linux-gnu.tar.gz`, with one folder of this name.
pub(super) fn make(release: &Release) -> Result<PathBuf> {
    let name = release.name();
    let work = release.out.join("work/archive");
    let tree = Tree::new(work.join(&name))?;
    let layout = Layout { prefix: "", program: "/usr/local/bin/certbound", zsh: "site-functions" };
    contents::install(release, &tree, &layout)?;
    let variables = release.root.join("packaging/systemd/verify.env");
    tree.copy(&variables, &format!("{DOCUMENTS}/verify.env"), FILE)?;
    let archive = release.out.join(format!("{name}.tar"));
    tar::pack(&work, &[&name], &archive, release.epoch)?;
    tar::gzip(&archive)?;
    Ok(archive.with_extension("tar.gz"))
}
