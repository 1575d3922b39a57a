//! The report on the step that runs at present. It is written only if stderr is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::output::tell;

/// The pictures of the spinner, and the time for which each is shown.
const PICTURES: [&str; 4] = ["|", "/", "-", "\\"];
const PERIOD: Duration = Duration::from_millis(120);

/// Writes the current step.
pub(super) enum Progress {
    /// stderr is not a terminal.
    Silent,
    /// One line for each step, if the terminal cannot overwrite a line or if other code writes to it too.
    Lines,
    /// A spinner, which a task redraws.
    Spinner { step: Arc<Mutex<&'static str>>, task: JoinHandle<()> },
}

impl Progress {
    /// Starts the report. `is_shared` is true if other code writes to stderr too.
    pub(super) fn start(is_shared: bool) -> Self {
        let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        match std::io::stderr().is_terminal() {
            false => Self::Silent,
            true if is_shared || is_dumb => Self::Lines,
            true => {
                let step = Arc::new(Mutex::new(""));
                Self::Spinner { task: tokio::spawn(spin(Arc::clone(&step))), step }
            }
        }
    }

    /// Reports the step that begins now.
    pub(super) fn checking(&self, now: &'static str) {
        match self {
            Self::Silent => {}
            Self::Lines => tell(&format!("checking {now} ...")),
            Self::Spinner { step, .. } => *step.lock().unwrap_or_else(PoisonError::into_inner) = now,
        }
    }

    /// Removes the spinner from the terminal.
    pub(super) async fn stop(self) {
        if let Self::Spinner { task, .. } = self {
            task.abort();
            // The task must not write after the line is cleared.
            let _ = task.await;
            write("\r\x1b[K");
        }
    }
}

/// Draws the spinner until the task is aborted. The first picture appears after one period, so a shorter run shows no
/// spinner.
async fn spin(step: Arc<Mutex<&'static str>>) {
    for picture in PICTURES.iter().cycle() {
        tokio::time::sleep(PERIOD).await;
        let step = *step.lock().unwrap_or_else(PoisonError::into_inner);
        write(&format!("\r{picture} checking {step} ...\x1b[K"));
    }
}

/// Writes to stderr. A failed write is ignored, because it cannot be reported.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
