//! The reasons why a state directory cannot be used.

use certbound_core::cause::Cause;
use std::io;
use std::path::{Path, PathBuf};
use strum::EnumProperty as _;

/// The reason why a folder cannot be used as a state directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum StateError {
    /// The system reported an error.
    #[error("the state directory {} cannot be used: {reason}", .path.display())]
    #[strum(props(fix = "name a folder that this user can create, read and write"))]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        reason: Cause,
    },
    /// The path is a file or a symbolic link.
    #[error("the state directory {} is not a folder; symbolic links are not followed", .path.display())]
    #[strum(props(fix = "name the folder itself"))]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The folder belongs to another user.
    #[error("the state directory {} belongs to the user with id {owner}", .path.display())]
    #[strum(props(fix = "name a folder of the user that this program runs as"))]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The user id of the owner.
        owner: u32,
    },
    /// The folder's permissions are not 0700.
    #[error("the state directory {} has the mode {mode:04o}, but it must have the mode 0700", .path.display())]
    #[strum(props(fix = "check who could read the key in the folder, then run `chmod 700` on the folder"))]
    Mode {
        /// The folder.
        path: PathBuf,
        /// The folder's permissions.
        mode: u32,
    },
    /// The folder was replaced or removed after it was opened.
    #[error("the state directory {} was replaced or removed since it was opened", .path.display())]
    #[strum(props(fix = "find out who replaced or removed the folder; then restart the program"))]
    Swapped {
        /// The folder.
        path: PathBuf,
    },
}

impl StateError {
    pub(crate) fn unusable(path: &Path, error: io::Error) -> Self {
        Self::Unusable { path: path.to_owned(), reason: error.into() }
    }

    /// Returns the stable name of this error.
    pub fn code(&self) -> &'static str {
        "state_directory_unusable"
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}
