//! Reads the files of certificates and keys.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use certbound_core::cause::Cause;
use zeroize::Zeroizing;

use crate::error::BindingCertificateError;

/// The maximum size of a certificate or key file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The files of a certificate and of its key, for errors. Both can be the same file.
#[derive(Clone, Copy, Default)]
pub(super) struct Files<'a> {
    pub(super) chain: Option<&'a Path>,
    pub(super) key: Option<&'a Path>,
}

impl<'a> Files<'a> {
    pub(super) fn one(path: &'a Path) -> Self {
        Self::two(path, path)
    }

    pub(super) fn two(chain: &'a Path, key: &'a Path) -> Self {
        Self { chain: Some(chain), key: Some(key) }
    }
}

/// Reads a file or a pipe.
pub(super) fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, BindingCertificateError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    read_all(path, file)
}

/// Reads a regular file only. A pipe with that name would block the reader.
pub(super) fn read_regular_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, BindingCertificateError> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path).map_err(|error| unreadable(path, error))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(unreadable(path, "it is not a regular file"));
    }
    read_all(path, file)
}

fn read_all(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, BindingCertificateError> {
    // The buffer has its full size from the start. A growing buffer would leave copies of the key in memory that are
    // not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize + 1));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(path, format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, reason: impl Into<Cause>) -> BindingCertificateError {
    BindingCertificateError::Unreadable { path: path.display().to_string(), reason: reason.into() }
}
