//! The files of the folder, which are opened by its file descriptor. A path that is replaced in the meantime therefore
//! has no effect.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::error::StateError;

/// The maximum size of a file in the folder.
const MAX_FILE_BYTES: u64 = 512 * 1024;

pub(super) struct Folder(OwnedFd);

/// The lock for writing a file, until it is dropped. The system releases it when the process ends.
pub(crate) struct Lock {
    _file: File,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let unusable = |errno: Errno| StateError::unusable(path, errno.into());
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(unusable(errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => StateError::NotAFolder { path: path.to_owned() },
            errno => unusable(errno),
        })?;
        let folder = Self(handle);
        folder.check(path)?;
        Ok(folder)
    }

    /// Checks that the path still names this folder, and that only its owner has access.
    pub(super) fn check(&self, path: &Path) -> Result<(), StateError> {
        let held = rustix::fs::fstat(&self.0).map_err(|errno| StateError::unusable(path, errno.into()))?;
        let there = rustix::fs::lstat(path);
        if !there.is_ok_and(|there| (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)) {
            return Err(StateError::Swapped { path: path.to_owned() });
        }
        if held.st_uid != rustix::process::geteuid().as_raw() {
            return Err(StateError::Foreign { path: path.to_owned(), owner: held.st_uid });
        }
        match held.st_mode & 0o777 {
            0o700 => Ok(()),
            mode => Err(StateError::Mode { path: path.to_owned(), mode }),
        }
    }

    /// Reads a file to which only its owner has access.
    pub(super) fn read(&self, name: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        // A pipe with that name must not block the caller.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, name, flags, Mode::empty())?;
        let facts = rustix::fs::fstat(&file)?;
        let file = File::from(file);
        let refuse = |what| Err(io::Error::other(what));
        if !file.metadata()?.is_file() {
            return refuse("it is not a regular file");
        }
        if facts.st_uid != rustix::process::geteuid().as_raw() {
            return refuse("it belongs to a different user");
        }
        if facts.st_mode & 0o077 != 0 {
            return refuse("other users may read or write it");
        }
        let room = u64::try_from(facts.st_size).unwrap_or(0).min(MAX_FILE_BYTES) as usize + 1;
        // The buffer has its full size from the start. A growing buffer would leave copies of a key in memory that are
        // not wiped.
        let mut content = Zeroizing::new(Vec::with_capacity(room));
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_FILE_BYTES {
            return refuse("it is too large");
        }
        Ok(content)
    }

    pub(super) fn write(&self, name: &str, content: &[u8], _lock: &Lock) -> io::Result<()> {
        let handle = &self.0;
        let new = format!("{name}.new");
        // A process that was killed during a write may have left this file.
        match rustix::fs::unlinkat(handle, &new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(handle, &new, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(content)?;
        file.sync_all()?;
        rustix::fs::renameat(handle, &new, handle, name)?;
        rustix::fs::fsync(handle)?;
        Ok(())
    }

    pub(super) fn remove(&self, name: &str, _lock: &Lock) -> io::Result<()> {
        rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?;
        rustix::fs::fsync(&self.0)?;
        Ok(())
    }

    pub(super) fn try_lock(&self, name: &str) -> io::Result<Option<Lock>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(rustix::fs::openat(&self.0, format!("{name}.lock"), flags, mode)?);
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
