//! How certbound's servers accept, limit and end connections.
//!
//! A client can delay a server in each direction: it can send slowly, read slowly, or do neither and stay. Each of
//! these has a limit here, the number of connections has one, and [`serve`] ends within a stated time after it was told
//! to stop, whatever the clients do.
//!
//! ```text
//!  listener ─► accept ─► places ─► connection ─► guarded ─► body
//!  streams     the loop  at most   one task      time       time limit
//!              and stop  so many   each          limits     of a request's body
//! ```
//!
//! It speaks HTTP/1.1. It does not authenticate anybody, read configuration or choose an address.
#![forbid(unsafe_code)]

mod limits;
mod listener;

mod accept;
mod activity;
mod body;
mod connection;
mod guarded;
mod places;

pub use accept::serve;
pub use body::{Body, BodyError};
pub use connection::Connection;
pub use limits::Limits;
pub use listener::Listener;
