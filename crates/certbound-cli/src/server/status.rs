//! The state of a server, as the admin listener and the service manager report it.

use std::sync::atomic::{AtomicBool, Ordering};

use certbound_core::shown::one_line;

use super::metrics::Metrics;

/// The check of a server's readiness. The error is the reason why the server is not ready.
type Ready = dyn Fn() -> Result<(), String> + Send + Sync;

/// The state of a server.
pub(crate) struct Status {
    stopping: AtomicBool,
    ready: Box<Ready>,
    pub(crate) metrics: Metrics,
}

impl Status {
    /// Creates the state of a server that has started. `ready` returns an error with the reason if the server cannot
    /// serve.
    pub(crate) fn new(
        metrics: Metrics,
        ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { stopping: AtomicBool::new(false), ready: Box::new(ready), metrics }
    }

    /// Records that the server received a signal to stop.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Returns an error with the reason, in one line, if new requests should not be sent to this server.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err("the server is stopping".to_owned());
        }
        // A reason can contain text that the issuer's host sent, so it is reduced to one line.
        (self.ready)().map_err(|reason| one_line(&reason).into_owned())
    }

    /// Returns the metrics in Prometheus' text format.
    pub(crate) fn metrics(&self) -> String {
        self.metrics.text()
    }
}
