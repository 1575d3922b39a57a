//! Keys and certificates in PKCS#11 tokens: HSMs, smart cards, and TPMs through `tpm2-pkcs11`.
//!
//! The private key stays in the token, and the token signs. A [`TokenCertificate`] is the certificate of a client, and
//! [`TokenKeys`] gives a managed identity its key. Both take a [`Pkcs11Uri`] (RFC 7512).
//!
//! At most four threads call the module for one [`TokenCertificate`] or [`TokenKeys`], and each thread has its own
//! session. [`TokenOptions::sessions`] changes this number. For one call, a caller waits at most ten seconds, or the
//! time of [`TokenOptions::limit`], and longer only for a new key or a managed identity's key. So a module that hangs
//! does not block the program. The drop of the last client or key of a token waits for its running calls, at most one
//! second. A crash of the module ends the program, because the module runs in the same process. A PIN is tried once:
//! this process never sends a refused PIN again.
//!
//! If a token is taken out and put back, this crate opens the token and logs in again, and its keys get new handles. A
//! client never uses a connection of an old handle with a new handle.
//!
//! # Floors
//!
//! ```text
//!  7  certificate.rs  machine_keys.rs  contents.rs
//!                                         the types for clients, managed identities and tools
//!  6  generate.rs                         new keys in a token
//!  5  key.rs                              a handle that signs, also a certificate request
//!  4  objects.rs                          keys and certificates with their attributes
//!  3  token/                              sessions, login, openings
//!  2  mechanism.rs  module.rs  pin.rs     schemes by mechanisms; one module for each path; the PIN
//!  1  uri/  der.rs  workers.rs            URIs; DER; threads with a time limit
//!  0  error.rs                            the failures of tokens, keys and URIs
//! ```
#![forbid(unsafe_code)]

mod certificate;
mod contents;
mod der;
mod error;
mod generate;
mod key;
mod machine_keys;
mod mechanism;
mod module;
mod objects;
mod pin;
mod token;
mod uri;
mod workers;

pub use self::certificate::TokenCertificate;
pub use self::contents::{KeyFacts, OpenToken, TokenFacts, list_tokens};
pub use self::error::{Outlook, Pkcs11Error};
pub use self::key::TokenKey;
pub use self::machine_keys::TokenKeys;
pub use self::token::TokenOptions;
pub use self::uri::Pkcs11Uri;
pub use certbound::certificate::KeySpec;

/// Compiles the example of the page on keys in hardware as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/hardware-keys.md")]
struct HardwareKeys;
