//! The paths of the certificate and its key. Both are read from one generation of the files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use certbound_core::secret::Secret;
use zeroize::Zeroizing;

use crate::certificate::BindingCertificate;
use crate::certificate::file::{Files, read_regular_file};
use crate::error::BindingCertificateError;

/// The names of the files in a Kubernetes secret of type `kubernetes.io/tls`.
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
/// The link that Kubernetes replaces to change all files of a volume at once.
const DATA: &str = "..data";

#[derive(Clone)]
pub(super) struct Place {
    paths: Paths,
    password: Option<Arc<Secret>>,
}

#[derive(Clone, Debug)]
pub(super) enum Paths {
    File(PathBuf),
    #[cfg(feature = "pfx")]
    PemOrPfx(PathBuf),
    Files(PathBuf, PathBuf),
    Directory(PathBuf),
}

/// The content of the files. Two contents are equal if their hashes are equal. The bytes are dropped after they are
/// parsed.
#[derive(Clone)]
pub(super) struct Contents {
    hash: Result<Vec<u8>, BindingCertificateError>,
    chain: Option<Arc<Zeroizing<Vec<u8>>>>,
    key: Option<Arc<Zeroizing<Vec<u8>>>>,
}

impl Place {
    pub(super) fn new(paths: Paths) -> Self {
        Self { paths, password: None }
    }

    pub(super) fn with_password(self, password: Secret) -> Self {
        Self { password: Some(Arc::new(password)), ..self }
    }

    /// Returns the folders to watch. Watching the files is not enough, because they can be links or be replaced.
    pub(super) fn folder(&self) -> Vec<PathBuf> {
        let parent = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        match &self.paths {
            Paths::File(path) => vec![parent(path)],
            #[cfg(feature = "pfx")]
            Paths::PemOrPfx(path) => vec![parent(path)],
            Paths::Files(chain, key) => vec![parent(chain), parent(key)],
            Paths::Directory(path) => vec![path.clone()],
        }
    }

    /// Returns the paths of the chain and of the key, for errors.
    fn files(&self) -> (PathBuf, PathBuf) {
        match &self.paths {
            Paths::File(path) => (path.clone(), path.clone()),
            #[cfg(feature = "pfx")]
            Paths::PemOrPfx(path) => (path.clone(), path.clone()),
            Paths::Files(chain, key) => (chain.clone(), key.clone()),
            Paths::Directory(path) => (path.join(CHAIN), path.join(KEY)),
        }
    }

    /// Reads the files. If the files differ from `known`, the function reads them up to four more times, and stops
    /// after two equal results. A single read could return files of two generations in the middle of a change.
    pub(super) fn read(&self, known: Option<&Contents>) -> Contents {
        settled(known, || self.look())
    }

    fn look(&self) -> Contents {
        let (chain, key) = match &self.paths {
            Paths::File(path) => (path.clone(), None),
            #[cfg(feature = "pfx")]
            Paths::PemOrPfx(path) => (path.clone(), None),
            Paths::Files(chain, key) => (chain.clone(), Some(key.clone())),
            Paths::Directory(path) => {
                // The link is followed once, so that both files are of one generation during a change of the link.
                let folder = std::fs::canonicalize(path.join(DATA)).unwrap_or_else(|_| path.clone());
                (folder.join(CHAIN), Some(folder.join(KEY)))
            }
        };
        let read = || {
            let chain = read_regular_file(&chain)?;
            let key = key.as_deref().map(read_regular_file).transpose()?;
            Ok((chain, key))
        };
        match read() {
            Ok((chain, key)) => Contents::of(chain, key),
            Err(error) => Contents { hash: Err(error), chain: None, key: None },
        }
    }

    pub(super) fn parse(&self, contents: &Contents) -> Result<BindingCertificate, BindingCertificateError> {
        if let Err(error) = &contents.hash {
            return Err(error.clone());
        }
        let chain = contents.chain.as_ref().map_or(&[][..], |chain| chain);
        let (password, (chain_file, key_file)) = (self.password.as_deref(), self.files());
        let files = Files::two(&chain_file, &key_file);
        #[cfg(feature = "pfx")]
        if matches!(self.paths, Paths::PemOrPfx(_)) {
            return BindingCertificate::read_pem_or_pfx(chain, password, files);
        }
        let key = contents.key.as_ref().map_or(chain, |key| key);
        BindingCertificate::read_pem(chain, key, password, files)
    }
}

/// The maximum number of reads while the files keep changing. After that, the last result is used.
const LOOKS: usize = 5;

fn settled(known: Option<&Contents>, mut look: impl FnMut() -> Contents) -> Contents {
    let mut last = look();
    for _ in 1..LOOKS {
        if known == Some(&last) {
            break;
        }
        let next = look();
        if next == last {
            break;
        }
        last = next;
    }
    last
}

impl Contents {
    fn of(chain: Zeroizing<Vec<u8>>, key: Option<Zeroizing<Vec<u8>>>) -> Self {
        let mut hash = digest(&SHA256, &chain).as_ref().to_vec();
        if let Some(key) = &key {
            hash.extend_from_slice(digest(&SHA256, key).as_ref());
        }
        Self { hash: Ok(hash), chain: Some(Arc::new(chain)), key: key.map(Arc::new) }
    }

    /// Drops the bytes.
    pub(super) fn forgetting(self) -> Self {
        Self { chain: None, key: None, ..self }
    }
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.paths.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the content that `settled` chooses for a series of changing contents, and the number of reads.
    fn read(known: Option<&str>, looks: &[&str]) -> (String, usize) {
        let contents = |text: &str| match text {
            "gone" => Contents { hash: Err(BindingCertificateError::NoCertificate), chain: None, key: None },
            text => Contents::of(Zeroizing::new(text.as_bytes().to_vec()), None),
        };
        let mut count = 0;
        let read = settled(known.map(contents).as_ref(), || {
            count += 1;
            contents(looks[(count - 1).min(looks.len() - 1)])
        });
        let text = read.chain.map_or("gone".to_owned(), |chain| String::from_utf8_lossy(&chain).into_owned());
        (text, count)
    }

    #[test]
    fn files_in_the_middle_of_a_change_are_read_again() {
        assert_eq!(
            read(Some("old"), &["old", "new"]),
            ("old".to_owned(), 1),
            "an unchanged file is read once"
        );
        assert_eq!(read(Some("old"), &["new"]), ("new".to_owned(), 2));
        assert_eq!(read(Some("old"), &["mixed", "new"]), ("new".to_owned(), 3));
        assert_eq!(
            read(Some("old"), &["gone", "new"]),
            ("new".to_owned(), 3),
            "the file was missing during the change"
        );
        assert_eq!(read(None, &["gone"]), ("gone".to_owned(), 2), "a missing file is reported");
        assert_eq!(read(Some("old"), &["mixed", "old"]), ("old".to_owned(), 2));
        assert_eq!(
            read(None, &["1", "2", "3", "4", "5", "6"]),
            ("5".to_owned(), LOOKS),
            "the number of reads is limited"
        );
    }
}
