//! The limits of time, size and number for the clients of a server.

use std::time::Duration;

/// The limits of one server. The defaults suit most servers. A server for health checks has smaller limits, and tests
/// set shorter times.
///
/// The time in which a service makes its response has no limit: the client does not cause that delay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The time limit of a request's head, counted from its first byte. For the first request it is counted from the
    /// start of HTTP on the connection. With HTTP/2 only the first request has this limit. A TLS handshake has the same
    /// limit. Default: 10 s.
    pub head: Duration,
    /// The time limit of a request's body, counted from the service's first read of the body. Default: 30 s.
    pub body: Duration,
    /// The time that one write may wait for the client. Default: 30 s.
    pub write: Duration,
    /// The time that a connection may be idle after a response. Default: 60 s. An HTTP/2 connection is also idle while
    /// each open response waits for the client to read more, and once the HTTP library has the rest of each response.
    /// The idle time begins again when the library takes more of a response. After the idle time the server sends
    /// GOAWAY to an HTTP/2 client (RFC 9113, section 6.8), and the client has the time [`Limits::write`] to end the
    /// connection. A client must therefore read the data that the library has within both times together.
    pub idle: Duration,
    /// The time limit of the responses in progress after the request to stop the server. After this time every
    /// connection is closed. Default: 9 s. Some supervisors kill a process 10 s after the request to stop the process.
    pub stop: Duration,
    /// The largest size of a request's head, in bytes. The response to a larger head is 431. Default: 64 KiB, because a
    /// head can contain a token and a certificate. Less than 8 KiB counts as 8 KiB. With HTTP/2 each header counts 32
    /// bytes more (RFC 9113, section 6.5.2).
    pub head_bytes: usize,
    /// The maximum number of requests that are open at once on one HTTP/2 connection. Further requests are refused.
    /// Default: 100; 0 counts as 1.
    pub streams: u32,
    /// The time without data from an HTTP/2 client after which the server sends a ping, and the time in which the
    /// client must answer the ping. Default: 20 s.
    pub ping: Duration,
    /// The maximum number of connections that are served at once. Further connections wait. Default: 1,024; 0 counts as
    /// 1.
    pub connections: usize,
    /// The longest wait of a connection for its client while another connection waits for a place. Idle connections are
    /// closed first, without this delay, beginning with the connection that has been idle longest. If no connection is
    /// idle, the server closes the connection with the longest wait for its client, but not before the end of this
    /// time. Default: 1 s. An HTTP/2 connection without an open request counts as waiting for its client, because a
    /// part of its last response may not be sent yet.
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
            streams: 100,
            ping: Duration::from_secs(20),
            connections: 1_024,
            patience: Duration::from_secs(1),
        }
    }
}
