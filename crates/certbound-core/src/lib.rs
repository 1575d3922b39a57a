//! The protocol of certificate-bound (mTLS Proof-of-Possession) tokens for Microsoft Entra.
//!
//! The crate has types and pure functions only: no socket, clock, file, thread, environment variable or private key.
//! The current time is an argument, and the caller signs. The client and the emulated token service use the same wire
//! types.
//!
//! ```text
//!  authority ─► endpoint ─► credential ─► request ─► (transport) ─► response
//!
//!  Leg 1   certificate client ─► assertion, bound to the certificate
//!                                   │
//!  Leg 2   assertion client  ◄──────┘ ─► token for the resource, bound to the same certificate
//! ```
//!
//! # Floors
//!
//! A module imports only from its own folder and from the floors below it, never from its own floor or from floors
//! above. `cargo xtask layering` reads this drawing and checks it.
//!
//! ```text
//!  7  lib.rs
//!  6  endpoint/                                       the endpoint of a request, by authority, region and channel
//!  5  managed_identity/  received.rs                  the messages of platforms; a token as its client reads it
//!  4  jws/  response.rs                               signed tokens; the response with a token
//!  3  authority/  jwt/  key_encoding.rs  refusal/  request.rs
//!                                                     authorities, claims, DER of keys, refusals, token requests
//!  2  cause.rs  certificate.rs  credential.rs  json/  own_secrets.rs  region.rs  retry_after.rs  scope.rs  tenant.rs  untrusted.rs
//!                                                     the parts of messages; why a server is not trusted
//!  1  catalogue/  challenge.rs  environment.rs  fips.rs  local.rs  phase.rs  secret.rs  shown.rs  time.rs
//!                                                     error codes, clouds, FIPS, hosts, and types that every floor uses
//! ```
#![forbid(unsafe_code)]

pub mod authority;
pub mod catalogue;
pub mod cause;
pub mod certificate;
pub mod challenge;
pub mod credential;
pub mod endpoint;
pub mod environment;
pub mod fips;
pub mod json;
pub mod jws;
pub mod jwt;
pub mod key_encoding;
pub mod local;
pub mod managed_identity;
pub mod own_secrets;
pub mod phase;
pub mod received;
pub mod refusal;
pub mod region;
pub mod request;
pub mod response;
pub mod retry_after;
pub mod scope;
pub mod secret;
pub mod shown;
pub mod tenant;
pub mod time;
pub mod untrusted;
