//! The part that all servers of the command line share: sockets, admin listener, metrics, messages to the service
//! manager, and the stop by signals.

mod admin;
mod lifecycle;
mod metrics;
mod notify;
mod reload;
mod socket;
mod socket_file;
mod status;
mod systemd;

pub(crate) use self::admin::Admin;
pub(crate) use self::lifecycle::{Event, Next, run};
pub(crate) use self::metrics::Metrics;
pub(crate) use self::notify::Supervisor;
pub(crate) use self::reload::{Messages, reloaded};
pub(crate) use self::socket::Sockets;
pub(crate) use self::status::Status;
