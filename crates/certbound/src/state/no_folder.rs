//! The folder on systems other than Unix, where no folder can be opened.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::StateError;

pub(super) struct Folder(Infallible);

pub(crate) struct Lock(Infallible);

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        Err(StateError::unusable(path, io::ErrorKind::Unsupported.into()))
    }

    pub(super) fn check(&self, _: &Path) -> Result<(), StateError> {
        match self.0 {}
    }

    pub(super) fn read(&self, _: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        match self.0 {}
    }

    pub(super) fn write(&self, _: &str, _: &[u8], _: &Lock) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn remove(&self, _: &str, _: &Lock) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn try_lock(&self, _: &str) -> io::Result<Option<Lock>> {
        match self.0 {}
    }
}
