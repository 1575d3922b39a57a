//! A transport of `certbound` for servers such as Key Vault, which request the client certificate after the handshake.
//!
//! Key Vault requests the certificate by a **renegotiation of TLS 1.2** over HTTP/1.1, after a request with the header
//! `x-ms-tokenboundauth: true`. rustls does not renegotiate, so this crate uses OpenSSL. It needs libssl and its
//! headers to build (Debian: `libssl-dev` and `pkg-config`). The library must be OpenSSL 3.0 or later; the build
//! refuses LibreSSL, BoringSSL and AWS-LC.
//!
//! [`OpensslTransport`] sends a request to a vault in four steps, on a connection of its own:
//!
//! 1. The transport performs a handshake of TLS 1.2 with the server.
//! 2. It sends a `GET` of the request's path and query, with `x-ms-tokenboundauth: true` and without `Authorization`.
//! 3. The server renegotiates and requests the certificate, and OpenSSL presents it. Then the server answers.
//! 4. The transport sends the request with the token on the same connection.
//!
//! The transport does not send the token if the server does not renegotiate, or renegotiates without requesting the
//! certificate. The connection ends at a second renegotiation, at a renegotiation after the start of an answer, and at
//! a different certificate of the server. A server that requests the certificate in its first handshake gets the token
//! without steps 2 and 3.
//!
//! OpenSSL can present only a certificate whose private key is in memory. A key in a device, a vault or an agent
//! ([`Signer`](certbound::certificate::Signer)) would need an engine or a provider of OpenSSL, and the crate `openssl`
//! cannot open these keys. For these keys the transport uses rustls, and fails unless the server requests the
//! certificate in its first handshake.
//!
//! ```no_run
//! # async fn example(authority: certbound::Authority) -> Result<(), Box<dyn std::error::Error>> {
//! use certbound::{BindingCertificate, Client, Network, ResourceScope};
//! use certbound_openssl::OpensslTransport;
//!
//! let certificate = BindingCertificate::from_pem_file("app.pem")?;
//! let transport = OpensslTransport::new(&Network::from_env()?)?;
//! let client = Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e")
//!     .with_certificate(certificate)
//!     .with_transport(transport)
//!     .build()?;
//! let vault = client.resource(&ResourceScope::parse("https://vault.azure.net/.default")?);
//! let url = "https://demo.vault.azure.net/secrets/demo?api-version=7.4";
//! let answer = vault.call(http::Request::get(url).body(bytes::Bytes::new())?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  5  transport.rs                 START HERE: which requests use OpenSSL
//!  4  exchange.rs                  one connection: the request without a token, then the request with the token
//!  3  server.rs  stream.rs         the server's side, for the emulator; a connection that judges each renegotiation
//!  2  context.rs  failure.rs       the TLS client; errors of OpenSSL
//!  1  raw.rs  verified.rs          the calls of OpenSSL that no safe crate wraps; why a server is not trusted
//! ```
#![deny(unsafe_code)]

mod context;
mod exchange;
mod failure;
mod raw;
pub mod server;
mod stream;
mod transport;
mod verified;

pub use self::transport::OpensslTransport;
