//! The protocol of certificate-bound (mTLS Proof-of-Possession) tokens for Microsoft Entra.
//!
//! The crate has types and pure functions only: no socket, clock, file, thread, environment or private key. The current
//! time is an argument, and the caller signs. The client and the emulated token service use the same wire types.
//!
//! ```text
//!  authority ─► endpoint ─► credential ─► request ─► (transport) ─► response
//!
//!  Leg 1   certificate client ─► assertion, bound to the certificate
//!                                   │
//!  Leg 2   assertion client  ◄──────┘ ─► token for the resource, bound to the same certificate
//! ```
#![forbid(unsafe_code)]

pub mod authority;
pub mod cause;
pub mod certificate;
pub mod credential;
pub mod endpoint;
pub mod environment;
pub mod instance;
pub mod json;
pub mod jws;
pub mod jwt;
pub mod local;
pub mod managed_identity;
pub mod own_secrets;
pub mod received;
pub mod refusal;
pub mod region;
pub mod request;
pub mod response;
pub mod scope;
pub mod secret;
pub mod server_metadata;
pub mod shown;
pub mod tenant;
pub mod time;
