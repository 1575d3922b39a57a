//! The thread that looks at the files: when somebody tells of a change, and from time to time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::WatchError;
use super::succession::Succession;

/// Writing takes several steps, and each is told of: the files are read when nothing more came for so long.
const QUIET: Duration = Duration::from_millis(50);
/// Who never stops writing is read all the same.
const AT_MOST: usize = 40;

pub(super) enum Signal {
    Changed,
    Stop,
}

/// Tells of changes, from now on.
pub(super) struct Watch {
    signals: Receiver<Signal>,
    /// Without it there is the poll.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    pub(super) fn begin(folders: &[PathBuf]) -> (Self, Sender<Signal>) {
        let (signal, signals) = channel();
        let watcher = watcher(folders, signal.clone())
            .inspect_err(|error| tracing::warn!(%error, "the certificate's files are only polled"));
        (Self { signals, watcher: watcher.ok() }, signal)
    }

    /// Starts the thread. It ends when `inner` is gone.
    pub(super) fn follow(self, inner: Weak<Succession>, poll: Duration) -> Result<(), WatchError> {
        let Self { signals, watcher } = self;
        let run = move || {
            // It ends with the thread.
            let _watcher = watcher;
            while next(&signals, poll) {
                let Some(inner) = inner.upgrade() else { return };
                // What is wrong is told by an event; and whatever panics, the next change is looked at.
                if catch_unwind(AssertUnwindSafe(|| inner.reload())).is_err() {
                    tracing::error!("looking at the certificate's files panicked");
                }
            }
        };
        let thread = std::thread::Builder::new().name("certbound-certificate".to_owned());
        thread.spawn(run).map(drop).map_err(|error| WatchError::Thread { reason: error.to_string() })
    }
}

/// Waits for a reason to look; false when there will be none any more.
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
        // Being read is no change, and reading is what follows one.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = signal.send(Signal::Changed);
        }
    })?;
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}
