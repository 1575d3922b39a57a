//! A local emulator of the Microsoft Entra token service that binds tokens to certificates, with resources that enforce
//! the binding.
//!
//! The emulator decides as the real service does, and returns the same error codes. The emulator signs with its own
//! keys, so no other service accepts its tokens. It does not emulate users, consent, Conditional Access or revocation.
//! It refuses a request for a feature that it does not emulate.
//!
//! [`emulator::Emulator::handle`] is the emulator without sockets: its input is a time, the facts of the TLS connection
//! and a request, and its output is a response. [`serve`] adds the sockets: a proxy port for HTTP CONNECT, an admin
//! port, and the ports of the machine.
//!
//! # Floors
//!
//! Start reading the source in `emulator.rs`. A module imports only from its own folder and from the floors below it,
//! never from its own floor or from floors above. `cargo xtask layering` reads this drawing and checks it.
//!
//! ```text
//!  8  lib.rs                         the public names
//!  7  serve/                         sockets, TLS, the admin interface
//!  6  emulator/                      START HERE: one request in, one answer out
//!  5  token_service/  platform/  resource/  local_issuer.rs
//!                                    the services that answer
//!  4  fault/                         rules that make an answer wrong
//!  3  issue/                         a token and the answer that contains it
//!  2  directory/  keys/  journal/    the applications' credentials; keys and certificates; the last requests
//!                                    and answers
//!  1  answers/  clock.rs  error.rs  paths.rs  scope.rs  tls_facts.rs  world/
//!                                    the world, and helpers of every floor
//! ```
#![forbid(unsafe_code)]

pub mod emulator;
pub mod serve;

pub mod clock;
pub mod fault;
pub mod journal;
pub mod tls_facts;
pub mod world;

mod answers;
mod directory;
mod error;
mod issue;
mod keys;
mod local_issuer;
mod paths;
mod platform;
mod resource;
mod scope;
mod token_service;

pub use emulator::{Emulator, EmulatorError, EmulatorKeys, ObservedRequest};
pub use fault::{
    Condition, Fault, FaultEffect, FaultResult, LegKind, PlatformEndpoint, PlatformKind, TokenForm,
};
pub use journal::JournalEntry;
pub use keys::ca::{self, ClientIdentity, IssueOptions, KeyKind};
pub use paths::{APP_SERVICE, AZURE_ARC, CLOUD_SHELL, IMDS_HOST, MACHINE_LEARNING, SERVICE_FABRIC};
pub use platform::arc::ArcKey;
pub use platform::hosted::PLATFORM_SECRET;
pub use tls_facts::TlsFacts;
pub use world::World;

#[cfg(test)]
mod tests;
