//! The limits of time, size and number for the clients of a server.

use std::time::Duration;

/// The limits of one server. The defaults suit every server; tests set shorter ones.
///
/// The time in which a service makes its response has no limit: the client does not cause that delay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long the head of a request may take, counted from its first byte. For the first request it is counted from
    /// the start of the connection. A TLS handshake has this time too. Default: 10 s.
    pub head: Duration,
    /// How long the body of a request may take, counted from the service's first read of it. Default: 30 s.
    pub body: Duration,
    /// How long one write may wait for the client to read. Default: 30 s.
    pub write: Duration,
    /// How long a connection may be idle after a response. Default: 60 s.
    pub idle: Duration,
    /// How long the responses in progress may take after the server was told to stop. Then every connection is closed.
    /// Default: 9 s. Some supervisors kill a process 10 s after they told it to stop.
    pub stop: Duration,
    /// The largest size of a request's head, in bytes. The response to a larger head is 431. Default: 64 KiB, since a
    /// head can contain a token and a certificate. Less than 8 KiB counts as 8 KiB.
    pub head_bytes: usize,
    /// How many connections are served at once. Further connections wait. Default: 1,024; 0 counts as 1.
    pub connections: usize,
    /// How long a connection may wait for its client while another connection waits for a place. Idle connections are
    /// closed first, without this delay; the longest idle one is the first. If no connection is idle, the server closes
    /// the connection that has waited longest for its client, once it has waited for this long. Default: 1 s.
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
