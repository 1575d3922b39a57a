//! The phases of an HTTP exchange. Each phase has its own time limit.

use std::fmt;

/// The part of an HTTP exchange that exceeded its time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// DNS, TCP, the proxy tunnel and TLS.
    Connect,
    /// The whole exchange, from the start of the connection to the end of the response.
    Exchange,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Exchange => "the request",
        })
    }
}
