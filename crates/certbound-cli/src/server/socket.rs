//! The socket on which a server listens: TCP or Unix.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use certbound_verifier::{Listener, PeerAddress};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::socket_file::SocketFile;
use crate::failure::Failure;
use crate::flags::{ListenFlag, ServerFlags};
use crate::usage::Usage;

/// A socket that accepts connections. Dropping it removes the file of a Unix socket.
pub(crate) struct Socket {
    kind: Kind,
    shown: String,
}

enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

impl Socket {
    /// Listens on the socket of a flag.
    pub(crate) async fn bind(flag: &ListenFlag, flags: &ServerFlags) -> Result<Self, Failure> {
        match flag {
            ListenFlag::Tcp(address) => Self::bind_tcp(*address).await,
            ListenFlag::Unix(path) => Self::bind_unix(path, flags).await,
        }
    }

    async fn bind_tcp(address: SocketAddr) -> Result<Self, Failure> {
        let refused =
            |error: io::Error| Usage::Listen { address: address.to_string(), reason: error.to_string() };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let shown = format!("http://{}", listener.local_addr().map_err(refused)?);
        Ok(Self { kind: Kind::Tcp(listener), shown })
    }

    async fn bind_unix(path: &Path, flags: &ServerFlags) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let refused = |error: io::Error| Usage::ListenUnix { path: shown.clone(), reason: error.to_string() };
        let (listener, file) = SocketFile::bind(path, &flags.socket_mode).await.map_err(refused)?;
        Ok(Self { kind: Kind::Unix { listener, _file: file }, shown: format!("unix:{shown}") })
    }

    /// Whether the permissions of a file determine who can connect.
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.kind, Kind::Unix { .. })
    }

    /// Returns the address for clients: `http://ADDRESS:PORT` or `unix:PATH`.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }
}

/// The stream of a TCP or Unix socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Listener for Socket {
    type Stream = Box<dyn Stream>;
    type Peer = PeerAddress;

    async fn accept(&mut self) -> io::Result<(Box<dyn Stream>, PeerAddress)> {
        Ok(match &mut self.kind {
            Kind::Tcp(listener) => {
                let (stream, peer) = Listener::accept(listener).await?;
                (Box::new(stream), peer.into())
            }
            Kind::Unix { listener, .. } => {
                let (stream, peer) = Listener::accept(listener).await?;
                (Box::new(stream), peer.into())
            }
        })
    }
}
