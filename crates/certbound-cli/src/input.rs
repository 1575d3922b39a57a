//! Reads files and stdin up to a limit. Their content may be a secret, so each buffer is wiped.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::usage::Usage;

/// The initial size of the buffer, unless the file is longer or the limit is lower. Tokens and assertions fit into it.
const USUAL_BYTES: u64 = 64 * 1024;

/// Reads a file of at most `limit` bytes.
pub(crate) fn file(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, Usage> {
    let refuse = |reason: String| Usage::Unreadable { path: path.display().to_string(), reason };
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    opened(file, limit).map_err(refuse)
}

/// Reads an open file of at most `limit` bytes. The error is the reason in words.
pub(crate) fn opened(file: File, limit: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    // The system reports the length zero for a pipe.
    let length = file.metadata().map_or(0, |metadata| metadata.len()).max(USUAL_BYTES);
    read(file, length, limit)
}

/// Reads stdin, which must have at most `limit` bytes.
pub(crate) fn stdin(limit: u64) -> Result<Zeroizing<Vec<u8>>, Usage> {
    let refuse = |reason: String| Usage::Unreadable { path: "stdin".to_owned(), reason };
    read(io::stdin().lock(), USUAL_BYTES, limit).map_err(refuse)
}

/// Reads a file of at most `limit` bytes, or stdin if the path is `-`.
pub(crate) fn file_or_stdin(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, Usage> {
    if path == Path::new("-") { stdin(limit) } else { file(path, limit) }
}

/// Returns the text of an input, which must be UTF-8. `path` is the name of the input in the error.
pub(crate) fn text(path: &Path, bytes: &[u8]) -> Result<Zeroizing<String>, Usage> {
    let path = || if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    match str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Usage::Unreadable { path: path(), reason: "it is not UTF-8 text".to_owned() }),
    }
}

/// Reads an input into a buffer of the expected size, because a growing buffer leaves unwiped copies.
fn read(input: impl Read, expected: u64, limit: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let capacity = usize::try_from(expected.min(limit).saturating_add(1)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    input.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 > limit {
        true => Err(format!("it is larger than {limit} bytes")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_has_a_limit() {
        assert_eq!(read(&b"1234"[..], 9, 4).map(|bytes| bytes.to_vec()), Ok(b"1234".to_vec()));
        assert_eq!(read(&b"12345"[..], 0, 4).unwrap_err(), "it is larger than 4 bytes");
        assert!(file(Path::new("/dev/zero"), 1000).is_err());
        assert!(text(Path::new("-"), b"\xff").unwrap_err().to_string().starts_with("stdin cannot be read: "));
    }
}
