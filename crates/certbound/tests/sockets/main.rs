//! The default transport on real connections, against servers that behave and servers that do not.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod emulator;
mod handshake;
mod hostile;
mod kept;
mod local;
mod machine;
mod pinned;
mod proxy;
mod server;
