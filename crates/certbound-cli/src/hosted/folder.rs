//! The folder of an emulator's files, by its handle: a link in its place is not followed, and a path that is swapped
//! meanwhile leads nowhere else.

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
    /// Makes the folder, or takes one that nobody else can enter: a key will lie in it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Without a slash at the end, which would have a link followed.
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
            return Err(io::Error::other("others can enter it (chmod 700 it)"));
        }
        Ok(Self { path, handle })
    }

    /// Where it is, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file whole or not at all: a new one takes its place, whatever is there.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let (handle, new) = (&self.handle, format!("{name}.{}", std::process::id()));
        // A process with the same number may have been killed and have left this.
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
