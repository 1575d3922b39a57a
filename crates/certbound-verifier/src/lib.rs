//! Checks certificate-bound (mTLS Proof-of-Possession) tokens for a resource.
//!
//! A bound token is valid only on a connection whose client proved possession of one certificate's private key. The
//! token's `cnf` contains the SHA-256 of this certificate. The binding protects a resource only if the resource checks
//! it. [`Verifier`] checks signature, issuer, audience, times, scheme, binding and caller. [`VerifyLayer`] puts a
//! verifier in front of an axum, tonic or hyper service; [`ForwardAuth`] answers the forward-auth requests of proxies.
//!
//! ```text
//!  Authorization header ─► Authorization ─┐
//!  TLS, or a trusted proxy ─► PeerCertificate ─┼─► Verifier ─► Verified │ Refusal ─► Answer
//!  issuer's JWKS ─► KeySet ───────────────┘
//! ```
//!
//! # Floors
//!
//! Start reading in `verifier.rs`; `verifier/decision.rs` contains the decision. A module imports only from its own
//! folder and from the floors below it. `cargo xtask layering` reads this drawing and checks it.
//!
//! ```text
//!  8  lib.rs                         the public names
//!  7  forward_auth/                  answers the forward-auth requests of proxies
//!  6  layer/                         verifies the requests to an axum, tonic or hyper service
//!  5  verifier/  answer/             START HERE: the decision; the HTTP response to a refusal
//!  4  policy/  keys/                 the rules for a token; the issuers' keys and their renewal
//!  3  verified.rs  fetch/            an accepted token; documents from the network
//!  2  authorization.rs  forwarded/  issuer/  observe.rs
//!                                    the token, the certificate in a header, the trusted issuers, the observer
//!  1  clock.rs  peer.rs  reading.rs  refusal/  rustls_0_23.rs
//!                                    the certificate of the connection; the reasons for a refusal
//! ```
#![forbid(unsafe_code)]

mod answer;
mod authorization;
mod clock;
mod fetch;
mod forward_auth;
mod forwarded;
mod issuer;
mod keys;
mod layer;
mod observe;
mod peer;
mod policy;
mod reading;
mod refusal;
#[cfg(feature = "rustls-0_23")]
pub mod rustls_0_23;
mod verified;
mod verifier;

pub use certbound_core::certificate::{CertificateError, Thumbprint};
pub use certbound_core::environment::Cloud;
pub use certbound_core::jws::{Algorithm, JwsError, PublicKey};
pub use certbound_core::jwt::{Claims, CnfError};
pub use certbound_core::tenant::TenantId;
pub use certbound_core::time::UnixTime;
pub use certbound_serve::{Limits, Listener, Load};
pub use ipnet::IpNet;

pub use self::answer::{Answer, AnswerStyle};
pub use self::authorization::{Authorization, Scheme};
pub use self::clock::{Clock, SystemClock};
pub use self::fetch::{Fetch, FetchError, HttpsFetch};
pub use self::forward_auth::ForwardAuth;
pub use self::forwarded::{HeaderNameError, PeerAddress, TrustedProxy};
pub use self::issuer::{Issuer, IssuerError, KeySet, KeySetError};
pub use self::keys::{KeyState, KeyStatus};
pub use self::layer::{AnswerBody, Verify, VerifyLayer, opted_in};
pub use self::observe::{Decision, FetchOutcome, KeyFetch, Observer};
pub use self::peer::PeerCertificate;
pub use self::policy::{BindingPolicy, Callers};
pub use self::refusal::{ForwardedError, Refusal};
pub use self::verified::Verified;
pub use self::verifier::{BuildError, Explanation, Outcome, Step, Verifier, VerifierBuilder};
