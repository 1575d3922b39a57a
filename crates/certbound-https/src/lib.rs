//! The HTTPS client of certbound's crates. It sends one request, returns one answer, and reports the facts of the TLS
//! handshake.
//!
//! The caller chooses the trusted servers, the certificate, the proxy, and the limits of a request. If the client has a
//! certificate and a server does not request it, the connection fails, and the client sends no byte of HTTP. The client
//! follows no redirect. It sends a request a second time only if a pooled connection was closed before the first byte
//! of the request.
//!
//! The connections of a [`Client`] are tasks of the runtime in which it is used. So the client belongs to that runtime.
//!
//! ```text
//!  5  client.rs                           one request, one answer, over pooled connections
//!  4  connector.rs                        from a URL to a connection: TCP or tunnel, then TLS
//!  3  stream.rs  body.rs  options.rs  tunnel.rs
//!                                         connections that record their handshake and their end; bodies; settings; CONNECT
//!  2  identity.rs  failure.rs  blocking.rs
//!                                         the TLS client; explanations of errors of the system and of TLS; futures
//!                                         that block
//!  1  fips.rs  proxy.rs  error.rs  untrusted.rs
//!                                         the refusal of TLS without FIPS; the choice of a proxy; the errors
//! ```
#![forbid(unsafe_code)]

mod blocking;
mod body;
mod client;
mod connector;
mod error;
mod failure;
pub mod fips;
mod identity;
mod options;
mod proxy;
mod stream;
mod tunnel;
mod untrusted;

pub use self::body::whole;
pub use self::client::{Answer, Client};
pub use self::connector::dial;
pub use self::error::Error;
pub use self::identity::Identity;
pub use self::options::{Limits, Options};
pub use self::proxy::{InvalidProxy, Proxy};
pub use self::stream::TlsFacts;
pub use self::untrusted::Explaining;
