//! The sockets that systemd passes to a service (`sd_listen_fds(3)`).

use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::flags::ListenFlag;
use crate::usage::Usage;

/// The sockets that were passed to this process. Each socket can be taken once.
pub(super) struct Passed {
    /// The name of each socket. It is `None` after the socket was taken.
    names: Vec<Option<String>>,
    sockets: ListenFd,
    /// The names that flags use. A flag without a name does not take these sockets.
    reserved: Vec<String>,
}

/// A socket that was passed.
pub(super) enum PassedSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Passed {
    /// Returns the sockets that were passed to this process, according to `LISTEN_PID`, `LISTEN_FDS` and
    /// `LISTEN_FDNAMES`.
    ///
    /// Programs that this process starts do not get the sockets.
    pub(super) fn of_process(reserved: Vec<String>) -> Result<Self, Usage> {
        // This call checks that the sockets are for this process, and sets close-on-exec on them.
        let passed = sd_notify::listen_fds_with_names().map_err(|error| Usage::Passed {
            reason: format!("LISTEN_PID, LISTEN_FDS or LISTEN_FDNAMES is wrong: {error}"),
        })?;
        let names: Vec<Option<String>> = passed.map(|(_, name)| Some(name)).collect();
        let sockets = if names.is_empty() { ListenFd::empty() } else { ListenFd::from_env() };
        Ok(Self { names, sockets, reserved })
    }

    /// Takes the socket with this name. For `None`, takes the first socket that was not taken yet and that no flag
    /// names.
    pub(super) fn take(&mut self, wanted: Option<&str>) -> Result<PassedSocket, Usage> {
        let reserved = |name: &str| self.reserved.iter().any(|reserved| reserved == name);
        let index = self.names.iter().position(|name| match (name, wanted) {
            (Some(name), Some(wanted)) => name == wanted,
            (Some(name), None) => !reserved(name),
            (None, _) => false,
        });
        let index = index.ok_or_else(|| {
            let left: Vec<&str> = self.names.iter().flatten().map(String::as_str).collect();
            Usage::not_passed(&ListenFlag::Systemd(wanted.map(str::to_owned)), &left)
        })?;
        let name = self.names[index].take().unwrap_or_default();
        let tcp = self.sockets.take_tcp_listener(index).ok().flatten().map(PassedSocket::Tcp);
        let socket = match tcp {
            Some(tcp) => Some(tcp),
            None => self.sockets.take_unix_listener(index).ok().flatten().map(PassedSocket::Unix),
        };
        let wrong = |reason: &str| Usage::Passed { reason: format!("the socket `{name}` {reason}") };
        match socket {
            Some(socket) if socket.listens() => Ok(socket),
            Some(_) => Err(wrong("is a connection instead of a listening socket (the unit has Accept=yes)")),
            None => Err(wrong("is not a TCP or Unix stream socket (the unit needs ListenStream=)")),
        }
    }
}

impl PassedSocket {
    fn listens(&self) -> bool {
        // If the system does not support this option, a connection is not detected here: its first accept fails.
        socket_acceptconn(self.descriptor()).unwrap_or(true)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}
