//! Archives that depend only on the content: they have sorted names, one time and one owner.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::capture;

/// Packs `names` of the folder `from` into the tar file `to`.
///
/// `epoch` is the time of all files, in seconds since 1970.
pub(super) fn pack(from: &Path, names: &[&str], to: &Path, epoch: u64) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=ustar", "--sort=name", "--numeric-owner", "--owner=0", "--group=0"]);
    tar.arg(format!("--mtime=@{epoch}"))
        .arg("--file")
        .arg(to)
        .arg("--directory")
        .arg(from)
        .arg("--")
        .args(names);
    capture(tar.env("LC_ALL", "C")).map(drop).context("package: GNU tar")
}

/// Compresses a file to `FILE.gz`, without its time and name, and removes the file.
pub(super) fn gzip(file: &Path) -> Result<()> {
    let mut gzip = Command::new("gzip");
    gzip.args(["--best", "--no-name", "--force"]).arg(file);
    capture(&mut gzip).map(drop).context("package: gzip")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tree::{FILE, Tree};
    use super::*;

    /// The second folder has the same content, written later and in a different order.
    #[test]
    fn equal_content_gives_equal_archives() {
        let folder = tempfile::tempdir().unwrap();
        let mut archives = Vec::new();
        for (name, files) in [("one", ["b/x", "a"]), ("two", ["a", "b/x"])] {
            let tree = Tree::new(folder.path().join(name).join("content")).unwrap();
            for file in files {
                tree.write(file, file, FILE).unwrap();
            }
            let archive = folder.path().join(name).join("content.tar");
            pack(&folder.path().join(name), &["content"], &archive, 1_700_000_000).unwrap();
            gzip(&archive).unwrap();
            archives.push(fs::read(archive.with_extension("tar.gz")).unwrap());
        }
        assert!(!archives[0].is_empty());
        assert_eq!(archives[0], archives[1]);
    }
}
