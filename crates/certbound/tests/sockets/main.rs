//! The default transport on real connections, with correct servers and with servers that misbehave.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod emulator;
mod handle_gone;
mod handshake;
mod hostile;
mod http2;
mod kept;
mod local;
mod machine;
mod machine_reopened;
mod pinned;
mod proxy;
mod recovery;
mod region;
mod reopened;
mod retries;
mod server;
mod signer;
