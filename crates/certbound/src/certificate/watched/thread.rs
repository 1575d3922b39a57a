//! The thread that reads the files after a reported change and at regular intervals.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::WatchError;
use super::succession::Succession;

/// Writing files causes several reports. The files are read when no report has arrived for this time.
const QUIET: Duration = Duration::from_millis(50);
/// The maximum number of reports to wait for, so that a program with constant writes does not prevent the read.
const AT_MOST: usize = 40;

pub(super) enum Signal {
    Changed,
    Stop,
}

/// A running observation of the folders.
pub(super) struct Watch {
    signals: Receiver<Signal>,
    /// The watcher of the folders. It is `None` if the thread only polls.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    pub(super) fn begin(folders: &[PathBuf]) -> (Self, Sender<Signal>) {
        let (signal, signals) = channel();
        let watcher = watcher(folders, signal.clone()).inspect_err(
            |error| tracing::warn!(%error, "the certificate's files cannot be watched, so they are polled"),
        );
        (Self { signals, watcher: watcher.ok() }, signal)
    }

    /// Starts the thread. The thread ends when `inner` is dropped.
    pub(super) fn follow(self, inner: Weak<Succession>, poll: Duration) -> Result<(), WatchError> {
        let Self { signals, watcher } = self;
        let run = move || {
            // The watcher is dropped at the end of the thread.
            let _watcher = watcher;
            while next(&signals, poll) {
                let Some(inner) = inner.upgrade() else { return };
                // `reload` reports errors by an event. After a panic the thread continues with the next change.
                if catch_unwind(AssertUnwindSafe(|| inner.reload())).is_err() {
                    tracing::error!("the check of the certificate's files panicked");
                }
            }
        };
        let thread = std::thread::Builder::new().name("certbound-certificate".to_owned());
        thread.spawn(run).map(drop).map_err(|error| WatchError::Thread { reason: error.into() })
    }
}

/// Waits until the files must be read. Returns false if the thread must end.
fn next(signals: &Receiver<Signal>, poll: Duration) -> bool {
    match signals.recv_timeout(poll) {
        Err(RecvTimeoutError::Timeout) => true,
        Ok(Signal::Changed) => {
            for _ in 0..AT_MOST {
                match signals.recv_timeout(QUIET) {
                    Ok(Signal::Changed) => {}
                    Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
            true
        }
        Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => false,
    }
}

fn watcher(folders: &[PathBuf], signal: Sender<Signal>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An access is not a change. Otherwise, reading the files would cause the next report.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = signal.send(Signal::Changed);
        }
    })?;
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}
