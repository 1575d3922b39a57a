//! The settings of a client and the limits of a request.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proxy::Proxy;

/// The limits of a request and its answer, in time and in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time for a connection: TCP, proxy tunnel and TLS together. Default 5 s.
    pub connect: Duration,
    /// The time for a whole exchange, its connection included. Default 30 s.
    pub exchange: Duration,
    /// The largest body of an answer, in bytes. Default 1 MiB.
    pub body: usize,
    /// The largest head of an answer, in bytes; at least 8 KiB. Default 64 KiB.
    pub head: usize,
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

/// The settings of a client. By default it uses no proxy, pools its connections and reads every body.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The limits of each request.
    pub limits: Limits,
    /// The proxy, with the rules for hosts that are reached without it.
    pub proxy: Proxy,
    /// A time limit for the TCP connection alone, in addition to [`Limits::connect`]. It does not apply to a connection
    /// to [`Options::address`].
    pub tcp_limit: Option<Duration>,
    /// The address of every connection, instead of the URL's host and of a proxy. TLS still verifies the host name of
    /// the URL.
    pub address: Option<SocketAddr>,
    /// Whether the client opens a new connection for each request and closes the connection after the answer.
    pub without_pool: bool,
    /// Whether the client accepts `http` URLs too. Requests to these URLs are not encrypted.
    pub plain_http: bool,
    /// Whether the client reads the body of an answer with status 200 only.
    pub bodies_of_ok_only: bool,
}
