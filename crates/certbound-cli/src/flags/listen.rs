//! The sockets of the servers, and the flags that all servers have.

use std::fmt;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// The flags of every server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerFlags {
    /// Answer /healthz, /readyz and /metrics here.
    ///
    /// The value is ADDRESS:PORT, or unix:PATH for a Unix socket. Port 0 takes a free port. `systemd` or `systemd:NAME`
    /// takes a socket that systemd passed. The address of --serve or --listen does not have these paths.
    #[arg(long, value_name = "SOCKET", env = "CERTBOUND_ADMIN_LISTEN")]
    pub(crate) admin_listen: Option<ListenFlag>,
    /// The form of the log on stderr.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        env = "CERTBOUND_LOG_FORMAT",
        default_value = "text",
        hide_short_help = true
    )]
    pub(crate) log_format: LogFormat,
    /// The permissions of the file of a Unix socket, in octal.
    ///
    /// Every process that may write to the file can connect. The default allows the owner and the group. `verify`
    /// refuses a mode with which every user can connect. This flag has no effect on a socket of systemd.
    #[arg(
        long,
        value_name = "MODE",
        env = "CERTBOUND_SOCKET_MODE",
        default_value = "660",
        value_parser = permissions,
        hide_short_help = true
    )]
    pub(crate) socket_mode: Permissions,
    /// The time for the responses in progress after SIGTERM or SIGINT.
    ///
    /// The server then closes the remaining connections. A second signal ends the server at once.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "CERTBOUND_STOP_TIMEOUT",
        default_value = "9",
        value_parser = seconds,
        hide_short_help = true
    )]
    pub(crate) stop_timeout: Duration,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text for each event.
    #[default]
    Text,
    /// One JSON object in one line for each event.
    Json,
}

/// The socket of a server, as written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenFlag {
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// A socket that systemd passed: the socket with this name, or the first socket that no flag names.
    Systemd(Option<String>),
}

impl FromStr for ListenFlag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("systemd") {
            Some("") => return Ok(Self::Systemd(None)),
            Some(":") => return Err("the name after systemd: is missing"),
            Some(rest) if rest.starts_with(':') => return Ok(Self::Systemd(Some(rest[1..].to_owned()))),
            _ => {}
        }
        match text.strip_prefix("unix:") {
            Some("") => Err("the path after unix: is missing"),
            Some(path) if path.starts_with('@') => {
                Err("abstract sockets have no permissions; write the path of a file after unix:")
            }
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(
                |_| "write ADDRESS:PORT, such as 127.0.0.1:9000, unix:PATH, systemd or systemd:NAME",
            ),
        }
    }
}

impl fmt::Display for ListenFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(None) => f.write_str("systemd"),
            Self::Systemd(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}

/// The port of an emulator, as written on the command line. It is never a Unix socket, because the clients of the
/// emulator need an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortFlag(ListenFlag);

impl PortFlag {
    pub(crate) fn as_listen(&self) -> &ListenFlag {
        &self.0
    }
}

impl fmt::Display for PortFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PortFlag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORMS: &str = "write ADDRESS:PORT, such as 127.0.0.1:8080, systemd or systemd:NAME";
        match text.parse() {
            Ok(ListenFlag::Unix(_)) => Err(FORMS),
            Err(_) if !text.starts_with("systemd:") => Err(FORMS),
            parsed => parsed.map(Self),
        }
    }
}

/// Parses the permissions of a file. Only the bits for reading, writing and executing are allowed.
fn permissions(text: &str) -> Result<Permissions, &'static str> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(Permissions::from_mode(mode)),
        _ => Err("write three octal digits, such as 660"),
    }
}

/// Parses a number of seconds, at most one hour.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds) if seconds <= 3600 => Ok(Duration::from_secs(seconds)),
        _ => Err("write a number of seconds from 0 to 3600"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_an_address_or_the_path_of_a_file() {
        let parse = |text: &str| text.parse::<ListenFlag>();
        assert_eq!(parse("127.0.0.1:9000"), Ok(ListenFlag::Tcp(([127, 0, 0, 1], 9000).into())));
        assert_eq!(parse("unix:/run/c.sock"), Ok(ListenFlag::Unix("/run/c.sock".into())));
        assert_eq!(parse("unix:c.sock").unwrap().to_string(), "unix:c.sock");
        assert_eq!(parse("systemd"), Ok(ListenFlag::Systemd(None)));
        assert_eq!(parse("systemd:web"), Ok(ListenFlag::Systemd(Some("web".to_owned()))));
        for wrong in [
            "systemd:",
            "systemdx",
            "",
            "9000",
            "localhost:9000",
            "unix:",
            "unix:@name",
            "/run/c.sock",
            "127.0.0.1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_of_the_emulator_is_no_unix_socket() {
        let parse = |text: &str| text.parse::<PortFlag>().map(|port| port.as_listen().to_string());
        for text in ["127.0.0.1:0", "[::1]:80", "systemd", "systemd:proxy"] {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
        for wrong in ["unix:/run/c.sock", "unix:", "systemd:", "9000", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mode_is_octal_and_has_no_special_bits() {
        assert_eq!(permissions("0600").unwrap().mode(), 0o600);
        for wrong in ["", "9", "1777", "rw", "-1", "0x1"] {
            assert!(permissions(wrong).is_err(), "{wrong}");
        }
    }
}
