//! Where the certificate and its key are, and how they are read as one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use certbound_core::secret::Secret;
use zeroize::Zeroizing;

use crate::certificate::{BindingCertificate, read_regular_file};
use crate::error::BindingCertificateError;

/// The names in a Kubernetes secret of type `kubernetes.io/tls`.
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
/// The link that Kubernetes swaps to change all files of a volume at once.
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

/// What the files held, compared by hash; the bytes are there until they were parsed.
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

    /// The folders in which a change shows: the files themselves may be links, or be replaced.
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

    /// What the files hold now. What is not as `known` is read until two looks are alike: files of two generations, or of a
    /// folder that is swapped again, are the middle of a change.
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
                // Followed once, so that both files are of one generation whenever the link is swapped.
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
        let password = self.password.as_deref();
        #[cfg(feature = "pfx")]
        if matches!(self.paths, Paths::PemOrPfx(_)) {
            return BindingCertificate::from_pem_or_pfx(chain, password);
        }
        let key = contents.key.as_ref().map_or(chain, |key| key);
        BindingCertificate::from_maybe_encrypted_pem(chain, key, password)
    }
}

/// Who never stops writing is taken at the last of so many looks.
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

    /// The same without the bytes.
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

    /// What is read of contents that change from look to look, and the looks it took.
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
        assert_eq!(read(Some("old"), &["old", "new"]), ("old".to_owned(), 1), "nothing new: one look");
        assert_eq!(read(Some("old"), &["new"]), ("new".to_owned(), 2));
        assert_eq!(read(Some("old"), &["mixed", "new"]), ("new".to_owned(), 3));
        assert_eq!(
            read(Some("old"), &["gone", "new"]),
            ("new".to_owned(), 3),
            "swapped away while it was read"
        );
        assert_eq!(read(None, &["gone"]), ("gone".to_owned(), 2), "what is gone is told so");
        assert_eq!(read(Some("old"), &["mixed", "old"]), ("old".to_owned(), 2));
        assert_eq!(read(None, &["1", "2", "3", "4", "5", "6"]), ("5".to_owned(), LOOKS), "not for ever");
    }
}
