//! The errors of keys, certificates and worlds.

use std::fmt;

use certbound_core::fips::NotFips;
use certbound_https::fips;

/// A key, a certificate or a world that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmulatorError {
    /// A key or certificate could not be made.
    #[error("the emulator could not make a key or a certificate: {reason}")]
    KeyMaterial {
        /// A description of the problem.
        reason: String,
    },
    /// The world has a host with `late_certificate`, and the server has no TLS library for this host.
    #[error(
        "the world's host {host} has late_certificate = true, which needs OpenSSL, and this build has no OpenSSL"
    )]
    NoLateTls {
        /// The name of the host.
        host: String,
    },
    /// The world is invalid.
    #[error("the world is not usable: {reason}")]
    World {
        /// A description of the problem.
        reason: String,
    },
    /// This build requires FIPS, and the TLS of the emulator is not in FIPS mode.
    #[error(transparent)]
    NotFips(#[from] NotFips),
}

impl EmulatorError {
    pub(crate) fn of_tls(error: rustls::Error) -> Self {
        match fips::refusal(&error) {
            Some(refusal) => refusal.clone().into(),
            None => Self::key_material(error),
        }
    }

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

#[cfg(all(test, feature = "fips"))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn tls_without_fips_has_an_error_of_its_own() {
        let refused = certbound_core::fips::require("TLS", false).unwrap_err();
        let error = rustls::Error::Other(rustls::OtherError(Arc::new(refused.clone())));
        assert_eq!(EmulatorError::of_tls(error), EmulatorError::NotFips(refused));
    }
}
