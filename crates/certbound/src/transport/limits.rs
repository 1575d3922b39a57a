//! What a request may take.

use std::time::Duration;

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) exchange: Duration,
    pub(crate) body: usize,
    pub(crate) head: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            exchange: Duration::from_secs(30),
            body: 1024 * 1024,
            head: 64 * 1024,
        }
    }
}
