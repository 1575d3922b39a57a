//! The log of this process on stderr. A server does not wait for a reader of its stderr.

mod json;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Map;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use self::json::Json;

/// The maximum number of lines that wait for stderr. A server drops further lines.
const WAITING_LINES: usize = 4096;
/// The maximum time that a server waits at its end for the output of the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Writes logs to stderr with the filter of `RUST_LOG`. Without this variable, `default` is the filter. If the command
/// `serves` requests and writes logs, the result is a [`Log`]. The caller must keep the log until the process ends.
pub(crate) fn start(default: Option<&'static str>, serves: bool, as_json: bool) -> Option<Log> {
    // An empty variable counts as not set.
    let set = std::env::var_os(EnvFilter::DEFAULT_ENV).filter(|value| !value.is_empty());
    let chosen = set.and_then(|_| match EnvFilter::try_from_default_env() {
        Ok(filter) => Some(filter),
        Err(error) => {
            // If stderr is closed, no user can read the warning.
            let _ = writeln!(io::stderr(), "warning: RUST_LOG is not a filter and is ignored: {error}");
            None
        }
    });
    let filter = chosen.or_else(|| default.map(EnvFilter::new))?;
    if !serves {
        subscribe(filter, as_json, io::stderr);
        return None;
    }
    let (lines, items) = Lines::new(WAITING_LINES);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || items.write_all(io::stderr(), as_json))
        .ok()?;
    let log = Log(lines.clone());
    subscribe(filter, as_json, move || lines.clone());
    Some(log)
}

fn subscribe<W: for<'a> MakeWriter<'a> + Send + Sync + 'static>(filter: EnvFilter, as_json: bool, writer: W) {
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer);
    // Only a second call in one process fails.
    let _ = if as_json { subscriber.event_format(Json).try_init() } else { subscriber.try_init() };
}

/// The log of a server. Its drop waits at most one second until the last lines are written. Lines that are not written
/// in this time are lost.
pub(crate) struct Log(Lines);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.end(LAST_LINES);
    }
}

enum Item {
    Line(Vec<u8>),
    /// The number of lines that were dropped at this place.
    Dropped(usize),
    End(Sender<()>),
}

/// The end of the queue at which lines are added. The subscriber writes each event with one call of `write`.
#[derive(Clone)]
struct Lines {
    items: Sender<Item>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    limit: usize,
}

impl Lines {
    fn new(limit: usize) -> (Self, Items) {
        let (items, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let items = Self { items, waiting: Arc::clone(&waiting), dropped: Arc::default(), limit };
        (items, Items { receiver, waiting })
    }

    /// Adds an item, and before it the number of lines that were dropped since the last item.
    fn add(&self, item: Item) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        // `send` fails only if the writing thread has ended. In this case the item cannot be written, so the error is
        // ignored.
        if dropped > 0 {
            let _ = self.items.send(Item::Dropped(dropped));
        }
        let _ = self.items.send(item);
    }

    /// Waits until all lines are written, but no longer than `limit`.
    fn end(&self, limit: Duration) {
        let (written, all_written) = channel();
        self.add(Item::End(written));
        let _ = all_written.recv_timeout(limit);
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.limit {
            self.add(Item::Line(line.to_vec()));
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of the queue at which a thread takes the lines.
struct Items {
    receiver: Receiver<Item>,
    waiting: Arc<AtomicUsize>,
}

impl Items {
    /// Writes the lines. A closed output is not an error, because a server continues without a reader of its log.
    fn write_all(self, mut output: impl Write, as_json: bool) {
        for item in self.receiver {
            match item {
                Item::Line(line) => {
                    let _ = output.write_all(&line);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Item::Dropped(count) => {
                    let message =
                        format!("{count} lines of the log were dropped: stderr was not read in time");
                    let line = if as_json {
                        json::line("WARN", module_path!(), message, Map::new())
                    } else {
                        message
                    };
                    let _ = writeln!(output, "{line}");
                }
                Item::End(written) => {
                    let _ = written.send(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;

    /// An output without a reader until the test sends a message.
    struct Unread {
        read: Mutex<Option<Receiver<()>>>,
        text: SyncSender<Vec<u8>>,
    }

    impl Write for Unread {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(read) = self.read.lock().unwrap().take() {
                read.recv().unwrap();
            }
            self.text.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_queue_drops_lines_and_counts_them_at_their_place() {
        let (mut lines, items) = Lines::new(2);
        let (read, unread) = channel();
        let (text, written) = sync_channel(100);
        let output = Unread { read: Mutex::new(Some(unread)), text };
        std::thread::spawn(move || items.write_all(output, false));
        for number in 1..=5 {
            lines.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        // With a limit of zero, the end does not wait for an output that is not read.
        lines.end(Duration::ZERO);
        read.send(()).unwrap();
        lines.end(Duration::from_secs(60));
        lines.write_all(b"6\n").unwrap();
        lines.end(Duration::from_secs(60));
        let written: Vec<u8> = written.try_iter().flatten().collect();
        let expected = "1\n2\n3 lines of the log were dropped: stderr was not read in time\n6\n";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
