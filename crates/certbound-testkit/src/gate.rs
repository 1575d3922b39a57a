//! A transport that holds back requests, so that a test can examine the client during a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use certbound::Transport;
use certbound::error::TransportError;
use certbound::transport::{Answer, Via};
use tokio::sync::Notify;

use crate::memory::MemoryTransport;

/// A transport that passes requests to the emulator, and holds back each request that contains a text from
/// [`GatedTransport::close`]. Clones share their state.
#[derive(Clone)]
pub struct GatedTransport {
    beyond: MemoryTransport,
    gates: Arc<Gates>,
}

#[derive(Default)]
struct Gates {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// A request is held back if its URL or body contains one of these texts.
    closed: Vec<String>,
    waiting: usize,
}

impl GatedTransport {
    /// Creates a transport that holds back no request.
    pub fn new(beyond: MemoryTransport) -> Self {
        Self { beyond, gates: Arc::default() }
    }

    /// Holds back each request that has `part` in its URL or body.
    pub fn close(&self, part: &str) {
        self.state().closed.push(part.to_owned());
    }

    /// Lets all requests continue.
    pub fn open(&self) {
        self.state().closed.clear();
        self.gates.changed.notify_waiters();
    }

    /// Returns the number of requests that wait now.
    pub fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Registers a request as waiting if it must wait.
    fn wait(&self, url: &str, body: &str) -> Option<Waiting<'_>> {
        let mut state = self.state();
        if !state.closed.iter().any(|part| url.contains(part) || body.contains(part)) {
            return None;
        }
        state.waiting += 1;
        Some(Waiting(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.gates.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiting request, until it continues or is dropped.
struct Waiting<'a>(&'a GatedTransport);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl Transport for GatedTransport {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let (url, body) = (request.uri().to_string(), String::from_utf8_lossy(request.body()).into_owned());
        loop {
            let mut changed = std::pin::pin!(self.gates.changed.notified());
            changed.as_mut().enable();
            let Some(waiting) = self.wait(&url, &body) else { break };
            changed.await;
            drop(waiting);
        }
        self.beyond.send(request, via).await
    }
}
