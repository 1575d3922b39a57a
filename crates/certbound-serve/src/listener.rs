//! The source of a server's connections.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

/// A source of connections. This crate implements it for TCP and for Unix sockets. For another source, such as an
/// in-memory channel, implement only `accept`.
pub trait Listener: Send {
    /// The stream of one connection.
    type Stream: Send + 'static;
    /// The client's address or another identification of the client.
    type Peer: Send + 'static;

    /// Returns the next connection. If the future is dropped early, the implementation must not lose a connection.
    ///
    /// # Errors
    /// Returns an error if no connection could be accepted. The server calls `accept` again. After most errors it
    /// pauses first.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Self::Peer)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Nagle's algorithm would only delay the small responses. A failure is ignored: the connection also works
        // without this option.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;
    type Peer = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> io::Result<(Self::Stream, Self::Peer)> {
        tokio::net::UnixListener::accept(self).await
    }
}
