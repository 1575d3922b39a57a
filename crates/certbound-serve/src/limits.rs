//! What a client may take: time, bytes and places.

use std::time::Duration;

/// The limits of one server. [`Limits::default`] is meant for all of them; tests set shorter ones.
///
/// No limit applies to the time in which a service makes its answer: that time is not the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long the head of a request may take, counted from its first byte. The head of the first request counts from
    /// the start of the connection, and a TLS handshake has this time too. Default: 10 s.
    pub head: Duration,
    /// How long the body of a request may take, counted from when the service begins to read it. Default: 30 s.
    pub body: Duration,
    /// How long one write may wait for the client to read. Default: 30 s.
    pub write: Duration,
    /// How long a connection may stay without a request after an answer. Default: 60 s.
    pub idle: Duration,
    /// How long the answers under way may take after the server was told to stop; then every connection is closed.
    /// Default: 9 s, so that a process has ended within 10 s, after which some supervisors kill it.
    pub stop: Duration,
    /// The size of a request's head, in bytes; a larger one is answered with 431. Default: 64 KiB, since a head may carry
    /// a token and a certificate.
    pub head_bytes: usize,
    /// How many connections are served at once. Further ones wait. Default: 1,024.
    pub connections: usize,
    /// How long a connection may wait for its client while others wait for a place. A connection that is idle after an
    /// answer is closed at once to make room, the longest idle one first. If no connection is idle, the one is closed
    /// that has waited longest for its client to send or to read, and longer than this. Default: 1 s.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            stop: Duration::from_secs(9),
            head_bytes: 64 * 1024,
            connections: 1_024,
            patience: Duration::from_secs(1),
        }
    }
}
