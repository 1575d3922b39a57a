//! The report on a reload: to the log, the metrics and the service manager.

use super::{Status, Supervisor};
use crate::failure::{Failure, one};

/// The messages of the log about the end of a reload.
pub(crate) struct Messages {
    pub(crate) done: &'static str,
    pub(crate) failed: &'static str,
}

/// Reports the end of a reload. `serving` is the state of the server if the reload succeeded.
pub(crate) fn reloaded(
    result: Result<(), Failure>,
    messages: &Messages,
    (status, supervisor): (&Status, &Supervisor),
    serving: &str,
) {
    status.metrics.reloaded(result.is_ok());
    match result {
        Ok(()) => {
            tracing::info!("{}", messages.done);
            supervisor.reloaded(serving);
        }
        Err(Failure { code, what, why, fix, .. }) => {
            tracing::error!(code, what, why, fix, "{}", messages.failed);
            supervisor.reloaded(&format!("{serving}; the last reload failed: {}", one(&why)));
        }
    }
}
