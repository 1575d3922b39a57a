//! A private folder in which keys, certificates and tokens remain after the end of the process.

#[cfg(unix)]
mod folder;
#[cfg(not(unix))]
#[path = "state/no_folder.rs"]
mod folder;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use self::folder::Folder;
pub(crate) use self::folder::Lock;
use crate::error::StateError;

/// A folder for files that the next process needs. Only its owner has access. A clone is cheap.
///
/// A `StateDirectory` writes no files by itself: pass it, for example, to
/// [`MachineCertificates::kept_in`](crate::managed_identity::MachineCertificates::kept_in) and
/// [`SoftwareKeys::kept_in`](crate::managed_identity::SoftwareKeys::kept_in). Several processes may share the folder:
/// each file is replaced as a whole, under a lock. A file that is damaged, or that belongs to another user, is ignored
/// with a warning and replaced. On systems other than Unix the folder cannot be opened.
///
/// ```no_run
/// use certbound::ManagedIdentity;
/// use certbound::managed_identity::{MachineCertificates, SoftwareKeys};
/// use certbound::state::StateDirectory;
///
/// let state = StateDirectory::open("/var/lib/my-service/certbound")?;
/// let identity = ManagedIdentity::system_assigned()
///     .with_certificates(MachineCertificates::kept_in(&state))
///     .with_keys(SoftwareKeys::kept_in(&state))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StateDirectory {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    folder: Folder,
}

impl StateDirectory {
    /// Opens the folder, and creates it (mode 0700) if it does not exist. Its parent must exist.
    ///
    /// # Errors
    /// [`StateError`], if the folder cannot be opened or created, is not a folder, belongs to another user, or gives
    /// access to other users.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        // The path must not end with a slash, because the system would then follow a link.
        let path: PathBuf = path.into().components().collect();
        // The folder of the process can change later.
        let path = std::path::absolute(&path).unwrap_or(path);
        let folder = Folder::open(&path)?;
        Ok(Self { inner: Arc::new(Inner { path, folder }) })
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Checks that the path still names the opened folder, and that only its owner has access.
    pub(crate) fn check(&self) -> Result<(), StateError> {
        self.inner.folder.check(&self.inner.path)
    }

    /// Returns the content of a file, if only its owner has access to it. The reason for ignoring a file is logged.
    pub(crate) fn read(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        match self.inner.folder.read(name) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.ignored(name, &error);
                None
            }
        }
    }

    /// Replaces a file as a whole. The caller must hold its lock. An error is logged.
    pub(crate) fn write(&self, name: &str, content: &[u8], lock: &Lock) {
        if let Err(error) = self.try_write(name, content, lock) {
            let file = self.inner.path.join(name);
            tracing::warn!(file = %file.display(), %error, "a state file was not written; the next process will not find its content");
        }
    }

    /// Does the same as [`StateDirectory::write`] and returns the error.
    pub(crate) fn try_write(&self, name: &str, content: &[u8], lock: &Lock) -> io::Result<()> {
        self.inner.folder.write(name, content, lock)
    }

    /// Removes a file. The caller must hold its lock. An error is logged.
    pub(crate) fn remove(&self, name: &str, lock: &Lock) {
        if let Err(error) = self.inner.folder.remove(name, lock) {
            let file = self.inner.path.join(name);
            tracing::warn!(file = %file.display(), %error, "a state file could not be removed");
        }
    }

    /// Takes the lock for writing a file. Returns `None` if another process holds the lock.
    pub(crate) fn try_lock(&self, name: &str) -> Result<Option<Lock>, StateError> {
        self.inner.folder.try_lock(name).map_err(|error| StateError::unusable(&self.inner.path, error))
    }

    /// Logs that a file is ignored.
    pub(crate) fn ignored(&self, name: &str, why: &dyn fmt::Display) {
        tracing::warn!(file = %self.inner.path.join(name).display(), %why, "a state file is ignored");
    }
}

impl fmt::Debug for StateDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateDirectory").field(&self.inner.path).finish()
    }
}
