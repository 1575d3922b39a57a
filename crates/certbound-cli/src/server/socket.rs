//! The socket on which a server listens: TCP, Unix, or passed by systemd.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use certbound_emulator::serve::Port;
use certbound_verifier::{Listener, PeerAddress};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::socket_file::SocketFile;
use super::systemd::{Passed, PassedSocket};
use crate::failure::Failure;
use crate::flags::{ListenFlag, PortFlag, ServerFlags};
use crate::usage::Usage;

/// Opens the sockets of one server.
pub(crate) struct Sockets<'a> {
    flags: &'a ServerFlags,
    /// The sockets of systemd, if a flag needs them.
    passed: Option<Passed>,
}

/// A socket that accepts connections. Dropping it removes the file of a Unix socket, unless systemd has created the
/// file.
pub(crate) struct Socket {
    kind: Kind,
    shown: String,
}

enum Kind {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        _file: Option<SocketFile>,
        /// Whether every user may connect.
        open_to_all: bool,
    },
}

impl<'a> Sockets<'a> {
    /// Prepares to open these sockets. A flag without a name never takes a socket of systemd that a second flag names.
    pub(crate) fn new(flags: &'a ServerFlags, wanted: &[Option<&ListenFlag>]) -> Result<Self, Failure> {
        let of_systemd = wanted.iter().flatten().filter_map(|flag| match flag {
            ListenFlag::Systemd(name) => Some(name.clone()),
            _ => None,
        });
        let of_systemd: Vec<Option<String>> = of_systemd.collect();
        let passed = match of_systemd.is_empty() {
            true => None,
            false => Some(Passed::of_process(of_systemd.into_iter().flatten().collect())?),
        };
        Ok(Self { flags, passed })
    }

    /// Listens on the socket of a flag.
    pub(crate) async fn bind(&mut self, flag: &ListenFlag) -> Result<Socket, Failure> {
        match (flag, &mut self.passed) {
            (ListenFlag::Tcp(address), _) => bind_tcp(*address).await,
            (ListenFlag::Unix(path), _) => self.bind_unix(path).await,
            (ListenFlag::Systemd(name), Some(passed)) => Ok(passed.take(name.as_deref())?.try_into()?),
            (ListenFlag::Systemd(_), None) => Err(Usage::not_passed(flag, &[]).into()),
        }
    }

    /// Returns the port of an emulator: an address, or a TCP socket of systemd.
    ///
    /// # Errors
    /// [`Usage::NotPassed`] if systemd did not pass the socket, and [`Usage::Passed`] if the socket cannot be used.
    pub(crate) fn port(&mut self, flag: &PortFlag) -> Result<Port, Usage> {
        match (flag.as_listen(), &mut self.passed) {
            (ListenFlag::Tcp(address), _) => Ok(Port::Address(*address)),
            (ListenFlag::Systemd(name), Some(passed)) => match passed.take(name.as_deref())? {
                PassedSocket::Tcp(listener) => Ok(Port::Socket(listener)),
                PassedSocket::Unix(_) => Err(Usage::Passed {
                    reason: format!("the socket for `{flag}` is a Unix socket, and the emulator needs TCP"),
                }),
            },
            _ => Err(Usage::not_passed(flag, &[])),
        }
    }

    async fn bind_unix(&self, path: &Path) -> Result<Socket, Failure> {
        let shown = path.display().to_string();
        let refused = |error: io::Error| Usage::ListenUnix { path: shown.clone(), reason: error.to_string() };
        let (listener, file) = SocketFile::bind(path, &self.flags.socket_mode).await.map_err(refused)?;
        let open_to_all = self.flags.socket_mode.mode() & 0o002 != 0;
        Ok(Socket {
            kind: Kind::Unix { listener, _file: Some(file), open_to_all },
            shown: format!("unix:{shown}"),
        })
    }
}

async fn bind_tcp(address: SocketAddr) -> Result<Socket, Failure> {
    let refused =
        |error: io::Error| Usage::Listen { address: address.to_string(), reason: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    Ok(Socket::of_tcp(listener).map_err(refused)?)
}

impl TryFrom<PassedSocket> for Socket {
    type Error = Usage;

    fn try_from(passed: PassedSocket) -> Result<Self, Usage> {
        let socket = match passed {
            PassedSocket::Tcp(listener) => listener
                .set_nonblocking(true)
                .and_then(|()| TcpListener::from_std(listener))
                .and_then(Socket::of_tcp),
            PassedSocket::Unix(listener) => listener
                .set_nonblocking(true)
                .and_then(|()| UnixListener::from_std(listener))
                .and_then(Socket::of_passed_unix),
        };
        socket.map_err(|error| Usage::Passed { reason: error.to_string() })
    }
}

impl Socket {
    fn of_tcp(listener: TcpListener) -> io::Result<Self> {
        let shown = format!("http://{}", listener.local_addr()?);
        Ok(Self { kind: Kind::Tcp(listener), shown })
    }

    /// Returns a socket that systemd has created. Its file has the permissions of the unit.
    fn of_passed_unix(listener: UnixListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let abstract_socket = "it is an abstract socket, which has no permissions; the unit needs a path";
        let path = address.as_pathname().ok_or_else(|| io::Error::other(abstract_socket))?;
        let shown = format!("unix:{}", path.display());
        let open_to_all = std::fs::metadata(path)?.mode() & 0o002 != 0;
        Ok(Self { kind: Kind::Unix { listener, _file: None, open_to_all }, shown })
    }

    /// Returns whether the permissions of a file determine who can connect. If the result is true, each peer of the
    /// socket counts as the proxy.
    ///
    /// # Errors
    /// [`Usage::Passed`] or [`Usage::OpenSocket`] if every user may connect. This is the default of systemd.
    pub(crate) fn trusts_peers(&self) -> Result<bool, Usage> {
        match self.kind {
            Kind::Tcp(_) => Ok(false),
            Kind::Unix { open_to_all: false, .. } => Ok(true),
            Kind::Unix { open_to_all: true, _file: Some(_), .. } => {
                Err(Usage::OpenSocket { shown: self.shown.clone() })
            }
            Kind::Unix { open_to_all: true, _file: None, .. } => Err(Usage::Passed {
                reason: format!(
                    "every user may connect to {}; add SocketMode=0660 and SocketGroup= with the group of the proxy",
                    self.shown
                ),
            }),
        }
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
