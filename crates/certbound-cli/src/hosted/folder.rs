//! The folder of an emulator's files, accessed by its handle. A symbolic link in its place is not followed, and a later
//! replacement of the path has no effect.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

pub(super) struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

impl Folder {
    /// Creates the folder, or opens an existing folder. No other user may enter the folder, because it will contain a
    /// key.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // A trailing slash is removed, because with it a symbolic link would be followed.
        let path: PathBuf = std::path::absolute(path)?.components().collect();
        if let Some(above) = path.parent() {
            DirBuilder::new().mode(0o700).recursive(true).create(above)?;
        }
        match rustix::fs::mkdir(&path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => io::Error::other("it is not a directory, but a file or a link"),
            errno => errno.into(),
        })?;
        let facts = rustix::fs::fstat(&handle)?;
        if facts.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("another user owns it"));
        }
        if facts.st_mode & 0o077 != 0 {
            return Err(io::Error::other("other users can enter it (run `chmod 700` on it)"));
        }
        Ok(Self { path, handle })
    }

    /// Returns the absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file completely or not at all. The new file replaces an existing file of this name.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let (handle, new) = (&self.handle, format!("{name}.{}", std::process::id()));
        // An earlier process with the same number may have been killed and may have left this file.
        match rustix::fs::unlinkat(handle, &new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(handle, &new, flags, Mode::RUSR | Mode::WUSR)?);
        let renamed = |()| rustix::fs::renameat(handle, &new, handle, name).map_err(io::Error::from);
        let written = file.write_all(content).and_then(renamed);
        if written.is_err() {
            let _ = rustix::fs::unlinkat(handle, &new, AtFlags::empty());
        }
        written.map(|()| self.path.join(name))
    }
}
