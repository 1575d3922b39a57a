//! The accept loop of certbound's servers, and the limits of each connection.
//!
//! A client can occupy a server by sending slowly, by reading slowly, or by doing nothing. The crate limits the time of
//! each case, and the number of connections. When its future `stop` is ready, [`serve`] ends within [`Limits::stop`],
//! also with open connections.
//!
//! ```text
//!  listener ─► accept ─► places ─► connection ─► guarded ─► body
//!  streams     the loop  limited   one task      time       time limit
//!              and stop  number    each          limits     of a request's body
//! ```
//!
//! The crate serves HTTP/1.1 and HTTP/2. It does not authenticate clients, read configuration, choose an address or
//! negotiate the version of HTTP.
#![forbid(unsafe_code)]

mod limits;
mod listener;
mod load;

mod accept;
mod activity;
mod body;
mod connection;
mod guarded;
mod http2;
mod places;

pub use accept::{serve, serve_with_load};
pub use body::{Body, BodyError};
pub use connection::Connection;
pub use limits::Limits;
pub use listener::Listener;
pub use load::Load;
