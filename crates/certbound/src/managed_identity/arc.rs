//! The challenge of Azure Arc's agent: a program may get a token if it can read a certain file.

use std::path::{Path, PathBuf};

use certbound_core::managed_identity::{BearerAnswer, IdentityId};
use certbound_core::secret::Secret;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response};
use zeroize::Zeroizing;

use crate::error::PlatformError;

/// The folder in which the agent creates the files of its challenges.
pub(super) const TOKENS: &str = "/var/opt/azcmagent/tokens";
const MAX_KEY_BYTES: u64 = 4096;

fn challenge(reason: &str) -> PlatformError {
    PlatformError::Challenge { reason: reason.to_owned() }
}

/// Returns the header that answers a challenge.
pub(super) async fn answer<B>(challenge: &Response<B>, folder: &Path) -> Result<HeaderValue, PlatformError> {
    let key = challenged(challenge, folder).await?;
    let mut header = HeaderValue::from_str(&Zeroizing::new(format!("Basic {}", key.expose())))
        .map_err(|_| self::challenge("its file contains characters that are not allowed in a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Reads the file that a challenge names. Reading the file proves that the program may have a token.
async fn challenged<B>(answer: &Response<B>, folder: &Path) -> Result<Secret, PlatformError> {
    let header = answer.headers().get(WWW_AUTHENTICATE).and_then(|header| header.to_str().ok());
    let header = header.ok_or_else(|| challenge("the answer has no WWW-Authenticate header"))?;
    let path = header.strip_prefix("Basic realm=").filter(|path| !path.contains('='));
    let path = PathBuf::from(
        path.ok_or_else(|| challenge("its WWW-Authenticate header is not `Basic realm=FILE`"))?,
    );
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || read_key(&path, &folder)).await;
    read.unwrap_or(Err(PlatformError::ShuttingDown))
}

/// Reads a key file. The file must be in the agent's folder itself, and its name must end with `.key`. The file must be
/// a regular file and not a link, and may have at most 4096 bytes.
fn read_key(path: &Path, folder: &Path) -> Result<Secret, PlatformError> {
    use std::io::Read as _;

    let is_key = path.extension().is_some_and(|extension| extension == "key");
    let name = path.file_name().filter(|_| is_key);
    // The paths are compared as text, because different paths can lead to the same file.
    let name = name.filter(|name| folder.join(name).as_os_str() == path.as_os_str());
    let name = name.ok_or_else(|| challenge("its file is not a .key file in the agent's folder"))?;
    let file = open(name, folder)?;
    // The buffer has its full size from the start. A growing buffer would leave copies in memory that are not wiped.
    let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_BYTES as usize + 1));
    let read = file.take(MAX_KEY_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| challenge(&format!("its file cannot be read: {error}")))?;
    if text.len() as u64 > MAX_KEY_BYTES {
        return Err(challenge("its file is larger than 4096 bytes"));
    }
    Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text)))
}

/// Opens a file by the handle of its folder and checks the opened file. Replacing the folder or the file after it was
/// opened has no effect.
#[cfg(target_os = "linux")]
fn open(name: &std::ffi::OsStr, folder: &Path) -> Result<std::fs::File, PlatformError> {
    use rustix::fs::{Mode, OFlags};

    let failed = |error: std::io::Error| challenge(&format!("its file cannot be read: {error}"));
    if std::fs::canonicalize(folder).map_err(failed)? != folder {
        return Err(challenge("the path of the agent's folder contains a symbolic link"));
    }
    // The program need not have the right to list the folder.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    // A pipe with that name must not block the caller.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(&folder, name, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let file = std::fs::File::from(file);
    match file.metadata().map_err(failed)?.is_file() {
        true => Ok(file),
        false => Err(challenge("its file is not a regular file")),
    }
}

/// The agent's folder is known only on Linux.
#[cfg(not(target_os = "linux"))]
fn open(_: &std::ffi::OsStr, _: &Path) -> Result<std::fs::File, PlatformError> {
    Err(challenge("the folder of the agent is known on Linux only"))
}

/// Checks that the response names the requested identity. An old agent ignores the selector and returns the machine's
/// own token without a name. A newer agent names the identity.
pub(super) fn confirm(id: &IdentityId, answer: &BearerAnswer) -> Result<(), PlatformError> {
    let [client, object, resource] = &answer.identity;
    let (asked, found) = match id {
        IdentityId::ClientId(id) => (id, client),
        IdentityId::ObjectId(id) => (id, object),
        IdentityId::ResourceId(id) => (id, resource),
        _ => return Ok(()),
    };
    match found {
        Some(found) if found.eq_ignore_ascii_case(asked) => Ok(()),
        _ => Err(PlatformError::IdentityNotConfirmed),
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "arc_tests.rs"]
mod tests;
