//! The number of connections and requests of a server, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The present load of a server, or of several servers together. Clones share the same counts.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

impl Load {
    /// The number of connections that are served. It does not include connections that wait for a place.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Relaxed)
    }

    /// The number of requests whose response is not complete.
    pub fn requests(&self) -> usize {
        self.0.requests.load(Relaxed)
    }

    /// Counts a connection until the value is dropped.
    pub(crate) fn connection(&self) -> Counted {
        Counted::new(self, |counts| &counts.connections)
    }

    /// Counts a request until the value is dropped.
    pub(crate) fn request(&self) -> Counted {
        Counted::new(self, |counts| &counts.requests)
    }
}

/// One connection or request that is counted.
pub(crate) struct Counted {
    counts: Arc<Counts>,
    number: fn(&Counts) -> &AtomicUsize,
}

impl Counted {
    fn new(load: &Load, number: fn(&Counts) -> &AtomicUsize) -> Self {
        number(&load.0).fetch_add(1, Relaxed);
        Self { counts: Arc::clone(&load.0), number }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.number)(&self.counts).fetch_sub(1, Relaxed);
    }
}
