//! The transport of a dry run, which sends nothing.

use bytes::Bytes;
use certbound::error::{PlatformError, TransportError};
use certbound::transport::{Answer, Via};
use certbound::{Error, Transport};

use crate::failure::Failure;

/// A transport that sends nothing. The observer records each request before the transport receives it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NeverTransport;

impl Transport for NeverTransport {
    async fn send(&self, _: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        Err(TransportError::Interrupted { host: String::new(), reason: STOPPED.into() })
    }
}

const STOPPED: &str = "stopped before the first byte";

/// Accepts the error of the dry-run transport. This error means that the first request was ready.
pub(crate) fn stopped<T>(result: Result<T, Error>) -> Result<(), Failure> {
    match result {
        Err(
            Error::Transport { cause: TransportError::Interrupted { reason, .. }, .. }
            | Error::Platform {
                what: PlatformError::Unreachable { cause: TransportError::Interrupted { reason, .. }, .. },
                ..
            },
        ) if reason.to_string() == STOPPED => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}
