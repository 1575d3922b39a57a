//! Messages to the service manager, by `sd_notify`. Without `NOTIFY_SOCKET` nothing is sent.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinSet;

/// Sends the messages of one server, and a message for the watchdog if the service manager expects it.
pub(crate) struct Supervisor {
    /// The task of the watchdog. It ends with this value.
    _watchdog: JoinSet<()>,
}

impl Supervisor {
    /// Reports that the server is ready to accept connections.
    pub(crate) fn ready(status: &str) -> Self {
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
        let mut watchdog = JoinSet::new();
        if let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) {
            watchdog.spawn(report_alive(limit));
        }
        Self { _watchdog: watchdog }
    }

    /// Reports that the server reads its configuration again. [`Supervisor::reloaded`] must follow.
    pub(crate) fn reloading(&self) {
        // The service manager requires the time to recognize the answer to its own signal.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            send(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration again")]);
        }
    }

    /// Reports the end of a reload. A failed reload also ends with `READY=1`, because the server still serves.
    pub(crate) fn reloaded(&self, status: &str) {
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reports that the server received a signal to stop.
    pub(crate) fn stopping(&self) {
        send(&[NotifyState::Stopping, NotifyState::Status("answering the requests in progress")]);
    }
}

/// Sends a message twice in each time limit of the watchdog. If the runtime hangs, no message is sent.
async fn report_alive(limit: Duration) {
    let mut ticks = tokio::time::interval(limit / 2);
    loop {
        ticks.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the state of this server could not be sent to the service manager (NOTIFY_SOCKET)");
    }
}
