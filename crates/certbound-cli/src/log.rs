//! The log of this process on stderr. A server does not wait for a reader of its stderr.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// The maximum number of lines that wait for stderr. A server drops further lines.
const WAITING_LINES: usize = 4096;
/// How long the end of the process waits until the last lines are written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Writes logs to stderr if `RUST_LOG` asks for them. `of_server` is the filter of a server's log without that variable.
/// The result must live until the process ends.
pub(crate) fn start(of_server: Option<&'static str>) -> Option<Log> {
    let filter = match std::env::var_os(EnvFilter::DEFAULT_ENV) {
        Some(_) => EnvFilter::try_from_default_env().ok(),
        None => of_server.map(EnvFilter::new),
    }?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    if of_server.is_none() {
        let _ = subscriber.with_writer(io::stderr).try_init();
        return None;
    }
    let (sender, receiver) = sync_channel(WAITING_LINES);
    let lines = Lines { sender, dropped: Arc::default() };
    let dropped = Arc::clone(&lines.dropped);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&receiver, &dropped)).ok()?;
    let log = Log(lines.sender.clone());
    let _ = subscriber.with_writer(move || lines.clone()).try_init();
    Some(log)
}

/// The log of a server. Its drop waits for a second until the last lines are written.
pub(crate) struct Log(SyncSender<Item>);

impl Drop for Log {
    fn drop(&mut self) {
        let (written, all_written) = sync_channel(1);
        if self.0.try_send(Item::End(written)).is_ok() {
            let _ = all_written.recv_timeout(LAST_LINES);
        }
    }
}

enum Item {
    Line(Vec<u8>),
    End(SyncSender<()>),
}

/// The writer of one event. The subscriber writes each event at once.
#[derive(Clone)]
struct Lines {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Item::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the lines to stderr until the end. A stderr that is closed is not an error.
fn write_all(items: &Receiver<Item>, dropped: &AtomicU64) {
    for item in items {
        let count = dropped.swap(0, Ordering::Relaxed);
        let mut stderr = io::stderr().lock();
        if count > 0 {
            let _ = writeln!(
                stderr,
                "{count} lines of the log were dropped, because stderr was not read in time"
            );
        }
        match item {
            Item::Line(line) => {
                let _ = stderr.write_all(&line);
            }
            Item::End(written) => {
                let _ = written.try_send(());
            }
        }
    }
}
