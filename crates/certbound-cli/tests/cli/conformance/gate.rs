//! Answers that a server holds until the test lets them go.

use std::time::Duration;

use certbound_emulator::JournalEntry;
use tokio::sync::watch;

/// The longest time that a test waits for an event that must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The state of a gate, and what happened at it.
#[derive(Clone, Copy, Default)]
struct State {
    is_closed: bool,
    /// The number of answers that were held.
    held: usize,
    /// The number of held answers that were never sent, because their clients ended the connection.
    unsent: usize,
}

/// The gate of a server. It is open at first.
pub(super) struct Gate(watch::Sender<State>);

impl Gate {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    /// Holds all answers from now on.
    pub(super) fn close(&self) {
        self.0.send_modify(|state| state.is_closed = true);
    }

    /// Sends the held answers, and all answers from now on.
    pub(super) fn open(&self) {
        self.0.send_modify(|state| state.is_closed = false);
    }

    /// Holds an answer while the gate is closed. The server calls this function before it sends the answer.
    pub(super) async fn pass(&self) {
        if !self.0.borrow().is_closed {
            return;
        }
        let mut held = Held { gate: self, is_sent: false };
        self.0.send_modify(|state| state.held += 1);
        self.is(|state| !state.is_closed).await;
        held.is_sent = true;
    }

    /// Waits until this number of answers was held, and returns the number.
    pub(super) async fn has_held(&self, count: usize) -> usize {
        let held = tokio::time::timeout(PATIENCE, self.is(|state| state.held >= count));
        held.await.expect("the server received too few requests");
        self.0.borrow().held
    }

    /// Waits until the server noticed that the clients of this number of held answers ended their connections.
    pub(super) async fn has_dropped(&self, count: usize) {
        let dropped = tokio::time::timeout(PATIENCE, self.is(|state| state.unsent >= count));
        dropped.await.expect("the client kept the connection of a held answer open");
    }

    /// Returns the number of held answers that were never sent.
    pub(super) fn unsent(&self) -> usize {
        self.0.borrow().unsent
    }

    async fn is(&self, wanted: impl FnMut(&State) -> bool) {
        // The wait ends with an error only if the sender is gone, and `self` has the sender.
        let _ = self.0.subscribe().wait_for(wanted).await;
    }
}

/// A held answer.
struct Held<'g> {
    gate: &'g Gate,
    is_sent: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.is_sent {
            self.gate.0.send_modify(|state| state.unsent += 1);
        }
    }
}

/// Returns the entry of a request whose answer was held and never sent. The emulator records an answer when it makes it.
pub(super) fn without_answer(entry: JournalEntry) -> JournalEntry {
    JournalEntry { status: 0, token_type: None, expires_in: None, ..entry }
}
