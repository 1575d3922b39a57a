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

    /// Returns the number of connections that were opened since the last call.
    pub(super) fn connections(&self) -> usize {
        let opened = std::iter::from_fn(|| match self.0.accept() {
            Ok(connection) => Some(connection),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("the listener cannot say whether a connection was opened: {error}"),
        });
        opened.count()
    }

    /// Checks that no connection was opened.
    pub(super) fn nothing_arrived(self) -> Evidence {
        assert_eq!(
            self.connections(),
            0,
            "connections were opened, but the refusal must come before the network"
        );
        Evidence::quiet()
    }
}

/// A trap that cannot see a connection would prove nothing.
#[test]
#[should_panic(expected = "connections were opened")]
fn a_connection_is_seen() {
    let trap = Trap::new();
    std::net::TcpStream::connect(trap.0.local_addr().unwrap()).unwrap();
    drop(trap.nothing_arrived());
}
