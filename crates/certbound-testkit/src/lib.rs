//! Client and emulator in one process, connected in memory, for certbound's own tests. The tests need no ports and no
//! sleeps, and do not depend on timing.
//!
//! [`Pair`] is for `tests/` folders only: a unit test that imports this crate gets a second copy of its own crate.
#![forbid(unsafe_code)]

mod answering;
mod clock;
mod gate;
mod logs;
mod memory;
mod pair;
mod spans;
mod store;

pub use answering::{AnsweringTransport, Seen};
pub use certbound_emulator as emulator;
pub use clock::ManualClock;
pub use gate::GatedTransport;
pub use logs::CapturedLogs;
pub use memory::{MemoryTransport, NeverTransport, ScriptedTransport};
pub use pair::{Pair, certificate_of};
pub use spans::{RecordedSpan, RecordedSpans};
pub use store::EmptyStore;
pub use tracing_subscriber::filter::LevelFilter;
