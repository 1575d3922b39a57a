//! The one cryptography provider of this crate.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

/// The one cryptography provider. Passed explicitly everywhere; a process-wide default is the application's business.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    &PROVIDER
}
