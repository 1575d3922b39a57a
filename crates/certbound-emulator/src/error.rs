//! Why there is no emulator.

use std::fmt;

/// Why there is no emulator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmulatorError {
    /// A key or certificate could not be made.
    #[error("the emulator could not make a key or a certificate: {reason}")]
    KeyMaterial {
        /// What the library said.
        reason: String,
    },
    /// The world holds something that is not what it should be.
    #[error("the world is not usable: {reason}")]
    World {
        /// What is wrong.
        reason: String,
    },
}

impl EmulatorError {
    pub(crate) fn key_material(error: impl fmt::Display) -> Self {
        Self::KeyMaterial { reason: error.to_string() }
    }

    pub(crate) fn world(error: impl fmt::Display) -> Self {
        Self::World { reason: error.to_string() }
    }
}

impl From<rcgen::Error> for EmulatorError {
    fn from(error: rcgen::Error) -> Self {
        Self::key_material(error)
    }
}
