//! Checks certificate-bound (mTLS Proof-of-Possession) tokens for a resource.
//!
//! A bound token is valid only on a connection whose client proved the key of one certificate: the token's `cnf` has
//! the SHA-256 of that certificate. This protects a resource only if the resource checks it. [`Verifier`] checks
//! signature, issuer, audience, times, scheme, binding and caller. [`VerifyLayer`] puts it in front of an axum, tonic
//! or hyper service; [`ForwardAuth`] answers the forward-auth requests of proxies.
//!
//! ```text
//!  Authorization header ─► Authorization ─┐
//!  TLS, or a trusted proxy ─► PeerCertificate ─┼─► Verifier ─► Verified │ Refusal ─► Answer
//!  issuer's JWKS ─► KeySet ───────────────┘
//! ```
#![forbid(unsafe_code)]

mod answer;
mod authorization;
mod builder;
mod clock;
mod fetch;
mod forward_auth;
mod forwarded;
mod issuer;
mod key_set;
mod keys;
mod keys_host;
mod layer;
mod peer;
mod policy;
mod reading;
mod refusal;
mod remembered;
#[cfg(feature = "rustls-0_23")]
pub mod rustls_0_23;
mod steps;
mod verified;
mod verifier;

pub use certbound_core::certificate::{CertificateError, Thumbprint};
pub use certbound_core::environment::Cloud;
pub use certbound_core::jws::{Algorithm, JwsError, PublicKey};
pub use certbound_core::jwt::{Claims, CnfError};
pub use certbound_core::tenant::TenantId;
pub use certbound_core::time::UnixTime;
pub use certbound_serve::{Limits, Listener};
pub use ipnet::IpNet;

pub use self::answer::{Answer, AnswerStyle};
pub use self::authorization::{Authorization, Scheme};
pub use self::builder::{BuildError, VerifierBuilder};
pub use self::clock::{Clock, SystemClock};
pub use self::fetch::{Fetch, FetchError, HttpsFetch};
pub use self::forward_auth::ForwardAuth;
pub use self::forwarded::{ForwardedError, HeaderNameError, TrustedProxy};
pub use self::issuer::{Issuer, IssuerError};
pub use self::key_set::{KeySet, KeySetError};
pub use self::layer::{AnswerBody, Verify, VerifyLayer, opted_in};
pub use self::peer::PeerCertificate;
pub use self::policy::{BindingPolicy, Callers};
pub use self::refusal::Refusal;
pub use self::steps::{Explanation, Outcome, Step};
pub use self::verified::Verified;
pub use self::verifier::Verifier;
