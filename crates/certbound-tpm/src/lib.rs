//! Keys in a TPM 2.0, through the TPM Software Stack (`libtss2`).
//!
//! The TPM signs, and certbound never reads the private key. A [`TpmKey`] is a
//! [`Signer`](certbound::certificate::Signer):
//! [`BindingCertificate::from_signer`](certbound::BindingCertificate::from_signer) makes the certificate of an
//! application from it. [`TpmKeys`] is the key provider of a managed identity. A key is at a persistent handle
//! ([`KeyHandle`]) and has no authorization: every program that can open the TPM can use it. [`TpmKey::attest`] makes
//! the data by which an attestation service recognises the key.
//!
//! A TPM executes one command at a time, so one thread sends the commands of this process. By default, a caller
//! waits at most 10 seconds for one command ([`TpmOptions::limit`]). If a connection of an earlier command fails, the
//! thread opens a new connection and repeats the command once. The drop of the last key or client of a TPM waits
//! until the connection is closed, at most one second.
//!
//! The crate does not verify that a TPM is genuine, and does not use keys with an authorization or a policy.
//!
//! # Floors
//!
//! ```text
//!  6  machine_keys.rs  contents.rs  attestation.rs
//!                                   keys of managed identities; listings for tools; attestation
//!  5  key.rs                        a handle that signs
//!  4  object.rs                     objects in the TPM: found, checked, generated
//!  3  tpm.rs                        the TPM, with its settings and its properties
//!  2  connection.rs  refused.rs     the thread that sends commands; the keys that are not tried again
//!  1  error.rs                      the errors
//!  0  handle.rs                     persistent handles
//! ```
#![forbid(unsafe_code)]

mod attestation;
mod connection;
mod contents;
mod error;
mod handle;
mod key;
mod machine_keys;
mod object;
mod refused;
mod tpm;

pub use self::attestation::TpmAttestation;
pub use self::contents::KeyFacts;
pub use self::error::{Origin, TpmError};
pub use self::handle::{HandleError, KeyHandle};
pub use self::key::TpmKey;
pub use self::machine_keys::TpmKeys;
pub use self::tpm::{Tpm, TpmOptions};
pub use certbound::certificate::KeySpec;

/// Compiles the examples of the page on keys in a TPM as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/tpm.md")]
struct Page;
