//! The part that all servers of the command line share: their sockets and their life.

mod lifecycle;
mod socket;
mod socket_file;

pub(crate) use self::lifecycle::{Event, Next, run};
pub(crate) use self::socket::Socket;
