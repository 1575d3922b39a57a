//! The cryptography provider of this crate.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

/// Returns the cryptography provider. The library passes it explicitly and never sets or reads the default of the
/// process.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    &PROVIDER
}
