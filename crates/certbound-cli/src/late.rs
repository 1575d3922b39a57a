//! Vaults that request the certificate by a TLS renegotiation. Only a build with the cargo feature `openssl` can call
//! and emulate them.

#[cfg(not(feature = "openssl"))]
#[path = "late/absent.rs"]
mod openssl;
#[cfg(feature = "openssl")]
mod openssl;

pub(crate) use self::openssl::{CallTransport, emulated, library, library_with, tell, transport};
