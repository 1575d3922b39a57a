//! OpenTelemetry metrics and W3C trace context of certbound's client and verifier.
//!
//! The crate uses only OpenTelemetry's API. The program chooses the SDK, the exporter and the readers, and gives this
//! crate a [`Meter`](opentelemetry::metrics::Meter). In the repository, `docs/observability.md` lists every metric of
//! the client library with its attributes, and every span. `docs/servers.md` lists the metrics of the verifier.
//!
//! ```
//! use certbound::TokenCache;
//! use certbound_otel::ClientMetrics;
//!
//! let cache = TokenCache::new();
//! let metrics = ClientMetrics::new(&opentelemetry::global::meter("certbound"));
//! metrics.watch_cache("tokens", &cache);
//! ```
//!
//! # Cargo features
//!
//! | Feature | Adds |
//! |---|---|
//! | `client`, default | the metrics and the trace context of the client library |
//! | `verifier`, default | the metrics of the verifier |
//!
//! # Floors
//!
//! A module imports only from its own folder and from the floors below it. `cargo xtask layering` reads this drawing
//! and checks it.
//!
//! ```text
//! 3  lib.rs
//! 2  client/  verifier.rs
//!                     the instruments and the trace context of the client library, the instruments of the verifier
//! 1  bounded.rs  names.rs
//!                     a limit for attributes; the name, unit and description of every metric
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "client")]
mod bounded;
#[cfg(feature = "client")]
mod client;
pub mod names;
#[cfg(feature = "verifier")]
mod verifier;

#[cfg(feature = "client")]
pub use crate::client::{ClientMetrics, OtelTraceContext};
#[cfg(feature = "verifier")]
pub use crate::verifier::VerifierMetrics;

/// Compiles the examples of the page on traces and metrics as documentation tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../../../docs/observability.md")]
struct Observability;
