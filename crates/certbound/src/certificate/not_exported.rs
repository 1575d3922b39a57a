//! The certificates of a build without the feature `foreign-tls`: they keep no bytes of private keys.

use rustls::pki_types::PrivateKeyDer;

/// No key.
pub(crate) struct Exported;

impl Exported {
    pub(crate) fn nothing() -> Self {
        Self
    }

    pub(super) fn of(_: &PrivateKeyDer<'_>) -> Self {
        Self
    }
}
