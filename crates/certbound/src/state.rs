//! A folder of one's own, in which a machine's key and certificates outlive the process.

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

/// A folder that only its owner reads, for what is to be found again by the next process. Cheap to clone.
///
/// It holds nothing by itself: give it to [`MachineCertificates::kept_in`](crate::MachineCertificates::kept_in) and to
/// [`SoftwareKeys::kept_in`](crate::SoftwareKeys::kept_in). Processes may share it: files are written whole or not at all,
/// under a lock. A file in it that is damaged, or somebody else's, is ignored with a warning and replaced. On Unix only.
///
/// ```no_run
/// use certbound::{MachineCertificates, ManagedIdentity, SoftwareKeys, StateDirectory};
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
    /// Opens the folder, and makes it (mode 0700) if it is not there; what it is to be in must be.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be had, is not a folder, belongs to somebody else, or lets others in.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        // Without a slash at the end, which would have a link followed.
        let path: PathBuf = path.into().components().collect();
        let folder = Folder::open(&path)?;
        Ok(Self { inner: Arc::new(Inner { path, folder }) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether it is still the folder that was opened, and still its owner's alone.
    pub(crate) fn check(&self) -> Result<(), StateError> {
        self.inner.folder.check(&self.inner.path)
    }

    /// A file's content, if there is one that is ours alone; why it was ignored is logged.
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

    /// Writes a file whole or not at all; its lock must be held. What went wrong is logged.
    pub(crate) fn write(&self, name: &str, content: &[u8], lock: &Lock) {
        if let Err(error) = self.try_write(name, content, lock) {
            let file = self.inner.path.join(name);
            tracing::warn!(file = %file.display(), %error, "not written; the next process will not find it");
        }
    }

    /// As [`StateDirectory::write`], and it is the caller who says what went wrong.
    pub(crate) fn try_write(&self, name: &str, content: &[u8], lock: &Lock) -> io::Result<()> {
        self.inner.folder.write(name, content, lock)
    }

    /// Removes a file; its lock must be held. What went wrong is logged.
    pub(crate) fn remove(&self, name: &str, lock: &Lock) {
        if let Err(error) = self.inner.folder.remove(name, lock) {
            let file = self.inner.path.join(name);
            tracing::warn!(file = %file.display(), %error, "not removed");
        }
    }

    /// The right to write a file, if nobody has it.
    pub(crate) fn try_lock(&self, name: &str) -> Result<Option<Lock>, StateError> {
        self.inner.folder.try_lock(name).map_err(|error| StateError::unusable(&self.inner.path, &error))
    }

    /// Says that a file is not used.
    pub(crate) fn ignored(&self, name: &str, why: &dyn fmt::Display) {
        tracing::warn!(file = %self.inner.path.join(name).display(), %why, "ignored");
    }
}

impl fmt::Debug for StateDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateDirectory").field(&self.inner.path).finish()
    }
}
