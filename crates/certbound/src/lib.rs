//! Certificate-bound (mTLS Proof-of-Possession) tokens for Microsoft Entra.
//!
//! A stolen Bearer token works for every program that has it. A certificate-bound token works only on a TLS connection
//! that presents the certificate named in the token by its SHA-256. This library gets certificate-bound tokens directly
//! by a certificate, or by the **FIC two-leg flow**. In this flow Leg 1 gets an assertion that is bound to a
//! certificate. Leg 2 exchanges the assertion for the resource's token, on a TLS connection with the same certificate.
//! The library caches the tokens and calls resources with them.
//!
//! ```no_run
//! use bytes::Bytes;
//! use certbound::{Authority, BindingCertificate, Client, Cloud, Region, ResourceScope, TenantId};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
//! let authority = Authority::public(tenant).with_region(Region::parse("westus3")?);
//! let app = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
//!
//! let certificate = BindingCertificate::from_pem_file("app.pem")?;
//! let leg1 = Client::builder(authority.clone(), app).with_certificate(certificate).build()?;
//! let leg2 = Client::builder(authority, app).with_assertions(leg1).build()?;
//!
//! let graph = leg2.resource(&ResourceScope::graph(Cloud::Public));
//! let url = "https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1";
//! let answer = graph.call(http::Request::get(url).body(Bytes::new())?).await?;
//! println!("{}", answer.status());
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! The root contains the names that most programs need. Each module below contains all names of its topic.
//!
//! # Cargo features
//!
//! All features except `fips`, `foreign-tls` and `pfx` are on by default. A build without features has the types, the
//! acquisition of tokens and the cache. A client then needs your own [`Transport`].
//!
//! | Feature | Adds |
//! |---|---|
//! | `hyper-rustls` | [`Network`] and [`transport::HyperTransport`], the default transport |
//! | `managed-identity` | [`ManagedIdentity`] and the module [`managed_identity`] |
//! | `watch` | [`WatchedCertificate`], a certificate in files that another program renews |
//! | `sealed-store` | [`cache::SealedStore`], an encrypted file of tokens |
//! | `foreign-tls` | the private key of a certificate and `transport::Dialer`, for a transport with a different TLS library |
//! | `pfx` | functions that read PFX (PKCS#12) files |
//! | `fips` | no names: requires the FIPS module of AWS-LC, and refuses TLS that is not in FIPS mode |
//!
//! # Floors
//!
//! Start reading the source in `acquire.rs`. A module imports only from its own folder and from the floors below it,
//! never from its own floor or from floors above. `cargo xtask layering` reads this drawing and checks the imports.
//!
//! ```text
//! 10  lib.rs                         the names that most programs need
//!  9  token_source.rs                any source of tokens, chosen at run time
//!  8  resource/                      call a resource with a token
//!  7  client/  managed_identity/     the sources of tokens
//!  6  acquire/                       START HERE: one acquisition, from its options to a token
//!  5  credential/  region/  token.rs
//!                                    Leg 1, bound and unbound assertions, secrets; the region of the machine; tokens
//!  4  cache/                         memory, store, single flight, refresh ahead
//!  3  transport/                     one HTTP request, its response, the facts of TLS
//!  2  certificate/  observe.rs  retry/  span.rs  state/
//!                                    binding certificates, observers, retries, spans, files
//!  1  authority.rs  background.rs  clock.rs  correlation.rs  crypto.rs  error/  rejected.rs
//!                                    authorities, errors, and code that every floor uses
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(feature = "hyper-rustls", feature = "managed-identity")),
    expect(dead_code, reason = "the features that are off would call this code")
)]

mod acquire;
pub mod authority;
mod background;
pub mod cache;
pub mod certificate;
pub mod client;
pub mod clock;
mod correlation;
pub mod credential;
mod crypto;
pub mod error;
#[cfg(feature = "managed-identity")]
pub mod managed_identity;
pub mod observe;
pub mod region;
mod rejected;
pub mod resource;
pub mod retry;
mod span;
#[cfg(any(feature = "managed-identity", feature = "sealed-store"))]
pub mod state;
pub mod token;
mod token_source;
pub mod transport;

pub use crate::authority::{Authority, Cloud, Region, TenantId};
pub use crate::cache::TokenCache;
#[cfg(feature = "watch")]
pub use crate::certificate::WatchedCertificate;
pub use crate::certificate::{BindingCertificate, Thumbprint};
pub use crate::client::{Acquire, Client, ClientBuilder, WorkloadIdentity};
pub use crate::clock::UnixTime;
pub use crate::credential::{BoundAssertion, Secret};
pub use crate::error::Error;
#[cfg(feature = "managed-identity")]
pub use crate::managed_identity::ManagedIdentity;
pub use crate::resource::{Resource, ResourceScope};
pub use crate::token::{BearerToken, BoundToken};
pub use crate::token_source::{AnyClient, TokenSource};
#[cfg(feature = "hyper-rustls")]
pub use crate::transport::Network;
pub use crate::transport::Transport;

/// Compiles the examples of the page on managed identities as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/managed-identity.md")]
struct ManagedIdentities;

/// Compiles the examples of the page on regions as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/regions.md")]
struct Regions;

/// Compiles the example of the page on rotation as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/rotation.md")]
struct Rotation;

/// Compiles the example of the page on the cache as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/cache.md")]
struct Caching;

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
