//! Hosts that request the client certificate after a request, like the real Key Vault: by a renegotiation of TLS 1.2.
//!
//! rustls cannot renegotiate, so a different TLS library serves these hosts. This module defines the interface of that
//! library.

use std::fmt;
use std::future::Future;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use certbound_serve::{Body, Connection};
use certbound_verifier::opted_in;
use http::{HeaderMap, Request};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::OnceCell;

use super::current::CurrentEmulator;
use super::front_door::{Client, respond};
use crate::emulator::Emulator;
use crate::tls_facts::TlsFacts;

/// A stream of bytes in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A stream of any type.
pub type BoxedIo = Box<dyn Io>;

/// The future of [`LateTls::accept`].
pub type LateAccepting<'a> = Pin<Box<dyn Future<Output = io::Result<LateConnection>> + Send + 'a>>;

/// A TLS library that serves TLS 1.2 and requests the client certificate by a renegotiation. The crate
/// `certbound-openssl` has the functions for an implementation.
pub trait LateTls: fmt::Debug + Send + Sync {
    /// Performs the first handshake with this chain (DER, leaf first) and private key (DER). The handshake requests no
    /// client certificate, and the server resumes no session.
    fn accept<'a>(&'a self, stream: BoxedIo, chain: &'a [Vec<u8>], key: &'a [u8]) -> LateAccepting<'a>;
}

/// A connection after its first handshake.
pub struct LateConnection {
    /// The decrypted stream.
    pub stream: BoxedIo,
    /// The client.
    pub client: Arc<dyn LateClient>,
}

impl fmt::Debug for LateConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateConnection").finish_non_exhaustive()
    }
}

/// The future of [`LateClient::request_certificate`]. Its result is the client's chain (DER, leaf first), or `None` if
/// the client has no certificate.
pub type Requesting<'a> = Pin<Box<dyn Future<Output = io::Result<Option<Vec<Vec<u8>>>>> + Send + 'a>>;

/// The client of one connection.
pub trait LateClient: Send + Sync {
    /// Returns the server name that the client sent.
    fn server_name(&self) -> Option<String>;

    /// Renegotiates and requests the client's certificate. Every certificate is accepted: the handshake proves only
    /// that the client has its key.
    fn request_certificate(&self) -> Requesting<'_>;

    /// Renegotiates, requests the client's certificate and refuses it by the TLS alert `certificate_revoked`. A client
    /// without a certificate is not refused.
    fn refuse_certificate(&self) -> Requesting<'_>;
}

/// Serves one client of the host `name`.
pub(super) async fn serve(
    stream: BoxedIo,
    connection: &Connection,
    name: &str,
    current: CurrentEmulator,
    reset: Arc<AtomicBool>,
) -> io::Result<()> {
    // A server without this TLS library refuses a world with `late_certificate`, so this error cannot happen.
    let tls = current.late_tls().ok_or_else(|| io::Error::other("there is no TLS library for this host"))?;
    let (chain, key) = current.get().host_certificate(name).map_err(io::Error::other)?;
    let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
    let accepted = connection.handshake(tls.accept(stream, &chain, key.secret_der())).await??;
    let LateConnection { stream, client } = accepted;
    if client.server_name().is_none_or(|sent| !sent.eq_ignore_ascii_case(name)) {
        return Err(io::Error::other("the server name in TLS is not the destination of the tunnel"));
    }
    let facts = |chain| TlsFacts {
        server_name: name.to_owned(),
        client_chain: chain,
        resumed: false,
        protocol: Some("TLSv1_2".to_owned()),
    };
    let limit = connection.limits().head;
    let peer = Peer { before: facts(None), after: OnceCell::new(), client, limit };
    let client = Arc::new(Client::Late(peer));
    let service = move |request: Request<Body>| {
        respond(request, current.get(), Arc::clone(&client), Arc::clone(&reset))
    };
    connection.http1(stream, service).await
}

/// The client of a connection, with the facts before and after the certificate was requested.
pub(super) struct Peer {
    before: TlsFacts,
    after: OnceCell<TlsFacts>,
    client: Arc<dyn LateClient>,
    /// The time limit of a renegotiation. The first handshake has the same limit.
    limit: Duration,
}

impl Peer {
    /// Returns the facts for a request with these headers. For a request with the header `x-ms-tokenboundauth: true`,
    /// the server first requests the certificate.
    pub(super) async fn facts(&self, headers: &HeaderMap, emulator: &Emulator) -> io::Result<&TlsFacts> {
        match opted_in(headers) {
            true => self.with_certificate(emulator).await,
            false => Ok(self.after.get().unwrap_or(&self.before)),
        }
    }

    /// Requests the certificate, but only once on each connection. A client that does not renegotiate in time loses the
    /// connection.
    async fn with_certificate(&self, emulator: &Emulator) -> io::Result<&TlsFacts> {
        let request = async || {
            let requested = match emulator.refuses_certificates(&self.before.server_name) {
                true => self.client.refuse_certificate(),
                false => self.client.request_certificate(),
            };
            let requested = tokio::time::timeout(self.limit, requested).await;
            let client_chain = requested.map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, "the client did not finish the renegotiation in time")
            })??;
            Ok(TlsFacts { client_chain, ..self.before.clone() })
        };
        self.after.get_or_try_init(request).await
    }
}

/// Reads the server name of a handshake, in lower case. Returns it with a stream that begins with the same bytes. The
/// name is empty if the handshake has no name.
pub(super) async fn server_name<S: Io>(stream: S) -> io::Result<(String, impl Io)> {
    let (mut reader, writer) = tokio::io::split(stream);
    let (mut acceptor, mut seen) = (Acceptor::default(), Vec::new());
    let name = loop {
        let mut bytes = [0; 4096];
        let length = reader.read(&mut bytes).await?;
        let Some(mut read) = bytes.get(..length).filter(|read| !read.is_empty()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        seen.extend_from_slice(read);
        while !read.is_empty() && acceptor.read_tls(&mut read)? > 0 {}
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                break accepted.client_hello().server_name().map(str::to_ascii_lowercase).unwrap_or_default();
            }
            // The caller then uses rustls, which reads the same bytes again and sends the alert.
            Err(_) => break String::new(),
        }
    };
    Ok((name, tokio::io::join(Cursor::new(seen).chain(reader), writer)))
}
