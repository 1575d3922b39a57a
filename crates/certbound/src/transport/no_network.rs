//! The network of a build without the feature `hyper-rustls`, which has no built-in transport.

use std::sync::Arc;

use super::AnyTransport;
use crate::error::NetworkError;

/// Returns an error, because every client of this build needs a transport of the application.
pub(crate) fn default_transport() -> Result<Arc<dyn AnyTransport>, NetworkError> {
    Err(NetworkError::NoTransport)
}
