//! The thread that sends the commands of this process to a TPM. A caller waits for a limited time, because a TPM can
//! stop answering.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::Duration;

use tss_esapi::{Context, TctiNameConf};

use crate::error::{TpmError, reason_of};

/// The address of a TPM: its text and its parsed form.
#[derive(Clone)]
struct Address {
    text: String,
    parsed: TctiNameConf,
}

/// The connection to one TPM. All clients in this process share it, because a TPM without a resource manager accepts
/// only one connection.
pub(crate) struct Connection {
    address: Address,
    /// The value is `None` before the first command. After a panic of the thread, a send into its queue fails.
    thread: Mutex<Option<Thread>>,
}

/// The thread that sends the commands.
struct Thread {
    jobs: Sender<Job>,
    id: ThreadId,
    /// The sender of this channel is dropped after the thread has closed its connection.
    ended: Receiver<()>,
}

struct Job {
    run: Box<dyn FnOnce(&mut Line) + Send>,
    /// Whether the caller has stopped waiting.
    is_abandoned: Arc<AtomicBool>,
}

/// The state of the thread. `context` is the connection, if it is open.
struct Line {
    address: Address,
    context: Option<Context>,
}

/// The maximum time that the last drop of a connection waits for its thread. A command of a key owns a clone of the
/// connection, so no drop waits for a command of a key that still runs.
const ENDING: Duration = Duration::from_secs(1);

/// The connections of this process, by the text of their address.
static CONNECTIONS: LazyLock<Mutex<HashMap<String, Weak<Connection>>>> = LazyLock::new(Mutex::default);

impl Connection {
    /// Returns the connection to the TPM at an address. No command is sent yet.
    pub(crate) fn to(address: &str) -> Result<Arc<Self>, TpmError> {
        let parsed = TctiNameConf::from_str(address)
            .map_err(|_| TpmError::Address { text: address.chars().take(128).collect() })?;
        let mut all = lock(&CONNECTIONS);
        all.retain(|_, connection| connection.strong_count() > 0);
        if let Some(known) = all.get(address).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let address = Address { text: address.to_owned(), parsed };
        let connection = Arc::new(Self { address, thread: Mutex::default() });
        all.insert(connection.address.text.clone(), Arc::downgrade(&connection));
        Ok(connection)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address.text
    }

    /// Runs `work` on the thread, and waits for its result. If a connection of an earlier command fails, the thread
    /// opens a new connection and runs `work` once more. `work` must therefore be repeatable.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        mut work: impl FnMut(&mut Context) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        let (answer, answered) = sync_channel(1);
        let is_abandoned = Arc::new(AtomicBool::new(false));
        let run = Box::new(move |line: &mut Line| {
            let result = line.run(&mut work);
            // `work` can own a clone of this connection. The caller may drop its own clone when it has the result, and
            // that drop must be the last drop.
            drop(work);
            // The caller may have stopped waiting.
            let _ = answer.send(result);
        });
        self.submit(Job { run, is_abandoned: Arc::clone(&is_abandoned) })?;
        answered.recv_timeout(limit).unwrap_or_else(|failure| match failure {
            RecvTimeoutError::Timeout => {
                is_abandoned.store(true, Ordering::Relaxed);
                Err(TpmError::TimedOut { address: self.address.text.clone(), limit })
            }
            RecvTimeoutError::Disconnected => Err(self.address.unavailable("the thread of the TPM failed")),
        })
    }

    fn submit(&self, job: Job) -> Result<(), TpmError> {
        let mut current = lock(&self.thread);
        let rejected = match current.as_ref() {
            Some(thread) => match thread.jobs.send(job) {
                Ok(()) => return Ok(()),
                Err(rejected) => rejected.0,
            },
            None => job,
        };
        let (jobs, receiver) = channel();
        let (ending, ended) = channel();
        let line = Line { address: self.address.clone(), context: None };
        let thread = std::thread::Builder::new().name("certbound-tpm".to_owned());
        let started = thread.spawn(move || {
            line.serve(&receiver);
            drop(ending);
        });
        let started = started.map_err(|error| self.address.unavailable(error))?;
        // The thread ends only after its sender was dropped, or by a panic in a command.
        let _ = jobs.send(rejected);
        *current = Some(Thread { jobs, id: started.thread().id(), ended });
        Ok(())
    }
}

impl Drop for Connection {
    /// Waits until the thread has closed the connection. A thread that uses the TPM Software Stack after the end of
    /// `main` can crash the process.
    fn drop(&mut self) {
        let Some(Thread { jobs, id, ended }) = lock(&self.thread).take() else {
            return;
        };
        drop(jobs);
        if id != std::thread::current().id() {
            // A command that hangs delays the process by at most `ENDING`. The channel carries no message.
            let _ = ended.recv_timeout(ENDING);
        }
    }
}

impl Line {
    fn serve(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            if !job.is_abandoned.load(Ordering::Relaxed) {
                (job.run)(&mut self);
            }
        }
    }

    fn run<T>(&mut self, work: &mut impl FnMut(&mut Context) -> Result<T, TpmError>) -> Result<T, TpmError> {
        // A new connection cannot be stale.
        let is_new = self.context.is_none();
        let result = self.attempt(work);
        match &result {
            Err(error) if error.ends_connection() => {
                self.context = None;
                if is_new { result } else { self.attempt(work) }
            }
            _ => result,
        }
    }

    fn attempt<T>(
        &mut self,
        work: &mut impl FnMut(&mut Context) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let context = match &mut self.context {
            Some(context) => context,
            closed => closed.insert(self.address.open()?),
        };
        work(context)
    }
}

impl Address {
    fn open(&self) -> Result<Context, TpmError> {
        // The TPM Software Stack reports every failure by the same error. The error of the system is more exact.
        if let Some(device) = self.text.strip_prefix("device:")
            && let Err(error) = Path::new(device).metadata()
        {
            return Err(self.unavailable(error));
        }
        Context::new(self.parsed.clone()).map_err(|error| self.unavailable(reason_of(error)))
    }

    fn unavailable(&self, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TpmError {
        TpmError::Unavailable {
            address: self.text.clone(),
            reason: certbound_core::cause::Cause::new(reason),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while the lock is held, and every intermediate state is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
