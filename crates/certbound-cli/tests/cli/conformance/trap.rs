//! A proxy that no program may reach: evidence that an error came before the network.

use std::io::ErrorKind;
use std::net::TcpListener;

use certbound::Network;

use super::evidence::Evidence;

/// A listener that counts as the proxy, and that accepts nothing. The system holds each connection until the check.
pub(super) struct Trap(TcpListener);

impl Trap {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// Returns a network whose only proxy is the trap.
    pub(super) fn network(&self) -> Network {
        Network::builder().proxy(self.url()).build().unwrap()
    }

    /// Checks that no connection was opened.
    pub(super) fn nothing_arrived(self) -> Evidence {
        let error = self.0.accept().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "a connection was opened");
        Evidence::quiet()
    }
}

/// A trap that cannot see a connection would prove nothing.
#[test]
#[should_panic(expected = "called `Result::unwrap_err()` on an `Ok` value")]
fn a_connection_is_seen() {
    let trap = Trap::new();
    std::net::TcpStream::connect(trap.0.local_addr().unwrap()).unwrap();
    trap.nothing_arrived();
}
