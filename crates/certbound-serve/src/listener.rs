//! Where connections come from.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

/// A source of connections. Implemented for TCP; a Unix socket or a channel of in-memory streams needs this one method.
pub trait Listener: Send {
    /// The connection itself.
    type Stream: Send + 'static;
    /// Who connected.
    type Peer: Send + 'static;

    /// The next connection. Nothing is lost if the future is dropped before it is ready.
    ///
    /// # Errors
    /// When no connection could be accepted this time. The server pauses and asks again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Self::Peer)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Answers are small: waiting to fill a segment only costs time. If it fails, the connection is as good.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}
