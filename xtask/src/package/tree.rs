//! A folder that becomes the content of a package. Its permissions do not depend on the umask of the machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The mode of a file that everybody can read.
pub(super) const FILE: u32 = 0o644;
/// The mode of a program or a folder.
pub(super) const PROGRAM: u32 = 0o755;

pub(super) struct Tree {
    pub(super) root: PathBuf,
}

impl Tree {
    /// Creates an empty folder. The content of an earlier run is removed.
    pub(super) fn new(root: PathBuf) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("could not remove {}", root.display()))?;
        }
        let tree = Self { root };
        fs::create_dir_all(&tree.root)?;
        set_mode(&tree.root, PROGRAM)?;
        Ok(tree)
    }

    /// Writes a file and the folders above it. `path` is relative to the root.
    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<PathBuf> {
        let file = self.root.join(path);
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder, PROGRAM)?;
        }
        fs::write(&file, content).with_context(|| format!("could not write {}", file.display()))?;
        set_mode(&file, mode)?;
        Ok(file)
    }

    /// Copies a file of this machine. A symbolic link is followed.
    pub(super) fn copy(&self, from: &Path, path: &str, mode: u32) -> Result<PathBuf> {
        let content = fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
        self.write(path, content, mode)
    }

    /// Creates a folder and the folders above it. Only the last folder gets the mode.
    pub(super) fn folder(&self, path: &str, mode: u32) -> Result<()> {
        let mut folder = self.root.clone();
        for part in path.split('/') {
            folder.push(part);
            if !folder.exists() {
                fs::create_dir(&folder).with_context(|| format!("could not create {}", folder.display()))?;
                set_mode(&folder, PROGRAM)?;
            }
        }
        set_mode(&folder, mode)
    }
}

/// Sets the permissions, which the umask would change otherwise.
pub(super) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("could not set the permissions of {}", path.display()))
}
