//! The file of a Unix socket. A file of an earlier run is replaced. A file on which a process listens is never
//! replaced.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use tokio::net::UnixListener;

/// The time limit of a test connection to an existing file. After this time a process counts as listening.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// The file of a socket. Dropping it removes the file, unless the path now names a different file.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number of the file.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Listens at `path` and sets the permissions of the file. No other user can connect before the permissions are
    /// set.
    pub(super) async fn bind(path: &Path, mode: &Permissions) -> io::Result<(UnixListener, Self)> {
        // The path must remain valid if the process changes its directory.
        let path = std::path::absolute(path)?;
        let listener = match bind_for_owner(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(&path).await?;
                bind_for_owner(&path)?
            }
            bound => bound?,
        };
        let file = Self { identity: fs::symlink_metadata(&path).ok().as_ref().map(identity), path };
        fs::set_permissions(&file.path, mode.clone())?;
        listener.set_nonblocking(true)?;
        Ok((UnixListener::from_std(listener)?, file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let present = fs::symlink_metadata(&self.path).ok();
        if present.as_ref().map(identity) == self.identity && self.identity.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Binds a socket whose file only its owner can use.
fn bind_for_owner(path: &Path) -> io::Result<StdListener> {
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let bound = StdListener::bind(path);
    rustix::process::umask(before);
    bound
}

/// Removes the file if it is a socket without a listening process.
async fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("a file that is not a socket has this path"));
    }
    let asked = path.to_owned();
    let connect = tokio::task::spawn_blocking(move || StdStream::connect(asked));
    match tokio::time::timeout(ANSWERS_WITHIN, connect).await {
        Ok(Ok(Err(error))) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::debug!(path = %path.display(), "removing the socket of an earlier run");
            fs::remove_file(path)
        }
        Ok(Ok(Err(error))) => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "a process already listens at this path")),
    }
}
