//! How well a machine's key is kept, and why one cannot be had.

use std::fmt;

use certbound_core::cause::Cause;

/// How well a key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyStrength {
    /// In this process's memory.
    Software,
    /// In hardware, from which it cannot be taken.
    Hardware,
    /// In hardware that vouches for it.
    Attested,
}

impl fmt::Display for KeyStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Software => "software",
            Self::Hardware => "hardware",
            Self::Attested => "attested",
        })
    }
}

/// A key that cannot be had or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct KeyError {
    #[source]
    reason: Cause,
}

impl KeyError {
    /// With its reason: a text, or the key store's own error, which is kept as the source. It must hold nothing of the key.
    pub fn new(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { reason: Cause::new(reason) }
    }
}
