//! Flags of `health`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::client::seconds;

#[derive(Args, Debug)]
pub(crate) struct HealthFlags {
    /// The admin listener of the server.
    ///
    /// The value is ADDRESS:PORT or unix:PATH, as in --admin-listen.
    #[arg(value_name = "SOCKET", env = "CERTBOUND_ADMIN_LISTEN")]
    pub(crate) address: HealthTarget,
    /// The time limit of the answer.
    #[arg(long, value_name = "SECONDS", env = "CERTBOUND_TIMEOUT", default_value = "5", value_parser = seconds())]
    pub(crate) timeout: u64,
}

/// The address of the admin listener. A host name is allowed, because the command only connects to the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthTarget {
    Tcp(String),
    Unix(PathBuf),
}

impl FromStr for HealthTarget {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && host != "unix" && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(address.to_owned()))
            }
            _ if text.starts_with("systemd") => Err("give the address of the .socket unit"),
            _ => Err("write ADDRESS:PORT, such as 127.0.0.1:9090, or unix:PATH"),
        }
    }
}

impl fmt::Display for HealthTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_and_the_flag_of_the_server_are_addresses() {
        let parse = |text: &str| text.parse::<HealthTarget>();
        let tcp = |text: &str| Ok(HealthTarget::Tcp(text.to_owned()));
        assert_eq!(parse("127.0.0.1:9090"), tcp("127.0.0.1:9090"));
        assert_eq!(parse("http://[::1]:9090/"), tcp("[::1]:9090"));
        assert_eq!(parse("localhost:9090"), tcp("localhost:9090"));
        assert_eq!(parse("unix:/run/a.sock"), Ok(HealthTarget::Unix("/run/a.sock".into())));
        for wrong in ["", "9090", "localhost", "a:b", "unix:", ":9090", "https://a:1/x", "systemd"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
