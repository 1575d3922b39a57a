//! The PIN of a URI: the value in the URI, or the content of the file that the URI names.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use certbound::Secret;
use certbound_core::cause::Cause;
use zeroize::Zeroizing;

use crate::error::Pkcs11Error;
use crate::uri::PinPlace;

/// The largest file of a PIN, in bytes.
const MAX_BYTES: usize = 4096;

/// Returns the PIN of the URI. If the URI names a file, the function reads the file. The result is `None` if the URI
/// has no PIN.
pub(crate) fn of_place(place: Option<PinPlace>) -> Result<Option<Secret>, Pkcs11Error> {
    match place {
        None => Ok(None),
        Some(PinPlace::Value(pin)) => Ok(Some(pin)),
        Some(PinPlace::File(path)) => read(&path).map(Some),
    }
}

/// Reads the PIN from a regular file. Line breaks at its end do not belong to the PIN.
fn read(path: &Path) -> Result<Secret, Pkcs11Error> {
    let refuse = |reason: Cause| Pkcs11Error::PinSource { path: path.display().to_string(), reason };
    let metadata = std::fs::metadata(path).map_err(|error| refuse(error.into()))?;
    if !metadata.is_file() {
        return Err(refuse("it is not a regular file".into()));
    }
    check_permissions(&metadata).map_err(|reason| refuse(reason.into()))?;
    let file = File::open(path).map_err(|error| refuse(error.into()))?;
    // The buffer has its full size from the start. A growing buffer would leave copies that are not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| refuse(error.into()))?;
    if bytes.len() > MAX_BYTES {
        return Err(refuse(format!("it is larger than {MAX_BYTES} bytes").into()));
    }
    let text = str::from_utf8(&bytes).map_err(|_| refuse("it is not UTF-8 text".into()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(refuse("it is empty".into())),
        pin => Ok(Secret::new(pin)),
    }
}

/// Refuses a file that other users can read, or that anyone but its owner can write. Its group may read it, because
/// Kubernetes gives secrets to a program by its group.
#[cfg(unix)]
fn check_permissions(metadata: &std::fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = metadata.permissions().mode() & 0o777;
    match mode & 0o027 {
        0 => Ok(()),
        _ => Err(format!("its mode is {mode:03o}, so other users can read or write it")),
    }
}

#[cfg(not(unix))]
fn check_permissions(_: &std::fs::Metadata) -> Result<(), String> {
    Ok(())
}
