//! The server's side: TLS 1.2 that requests the client certificate by a renegotiation. It is for the emulator and for
//! tests.
//!
//! It accepts every client certificate, as the rest of the emulator's TLS does. The handshake proves only that the
//! client has the key, and the application decides.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{AlpnError, NameType, SniError, Ssl, SslMethod, SslVerifyMode, select_next_proto};
use openssl::x509::X509;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use crate::context::{Handshakes, connection, tls12};
use crate::raw;

/// Accepts TLS 1.2 without requesting a client certificate in the first handshake.
pub struct LateAcceptor {
    leaf: X509,
    issuers: Vec<X509>,
    key: PKey<Private>,
    /// The certificate and the key in a renegotiation, if they are different.
    later: Option<(X509, PKey<Private>)>,
}

impl LateAcceptor {
    /// Creates an acceptor with a server's chain (DER, leaf first) and its private key (DER).
    ///
    /// # Errors
    /// An I/O error if the chain is empty, or if OpenSSL cannot read the chain or the key.
    pub fn new(chain: &[impl AsRef<[u8]>], key: &[u8]) -> io::Result<Self> {
        let mut chain = chain.iter().map(|der| X509::from_der(der.as_ref()));
        let leaf = chain.next().ok_or_else(|| io::Error::other("the server has no certificate"))??;
        let issuers = chain.collect::<Result<_, ErrorStack>>()?;
        Ok(Self { leaf, issuers, key: PKey::private_key_from_der(key)?, later: None })
    }

    /// Presents a different certificate (DER) in a renegotiation that requests the client's certificate. This is for
    /// tests of clients.
    ///
    /// # Errors
    /// An I/O error if OpenSSL cannot read the certificate or the key.
    pub fn with_later_certificate(self, certificate: &[u8], key: &[u8]) -> io::Result<Self> {
        let later = Some((X509::from_der(certificate)?, PKey::private_key_from_der(key)?));
        Ok(Self { later, ..self })
    }

    /// Performs the first handshake. Returns the stream, and the handle that requests the certificate later.
    ///
    /// # Errors
    /// An I/O error if the handshake fails.
    pub async fn accept<S>(&self, stream: S) -> io::Result<(LateStream<S>, LateClient<S>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = Arc::new(AtomicU8::new(NOTHING));
        let (ssl, handshakes) = self.of_one_connection(&request)?;
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
        let shared = Arc::new(Mutex::new(stream));
        Ok((LateStream(Arc::clone(&shared)), LateClient { stream: shared, handshakes, request }))
    }

    fn of_one_connection(&self, request: &Arc<AtomicU8>) -> Result<(Ssl, Handshakes), ErrorStack> {
        let mut context = tls12(SslMethod::tls_server())?;
        context.set_certificate(&self.leaf)?;
        for issuer in &self.issuers {
            context.add_extra_chain_cert(issuer.clone())?;
        }
        context.set_private_key(&self.key)?;
        context.set_session_id_context(b"certbound")?;
        context.set_alpn_select_callback(|_, offered| {
            select_next_proto(b"\x08http/1.1", offered).ok_or(AlpnError::NOACK)
        });
        let (wanted, later) = (Arc::clone(request), self.later.clone());
        // OpenSSL calls this hook for each ClientHello, also in a renegotiation. OpenSSL decides afterwards whether to
        // request a certificate.
        context.set_servername_callback(move |ssl, _| {
            let wanted = wanted.load(Ordering::Acquire);
            if wanted != NOTHING {
                ssl.set_verify_callback(SslVerifyMode::PEER, move |_, chain| {
                    if wanted == REFUSAL {
                        chain.set_error(raw::revoked());
                    }
                    wanted == CERTIFICATE
                });
                if let Some((certificate, key)) = &later {
                    let set = ssl.set_certificate(certificate).and_then(|()| ssl.set_private_key(key));
                    return set.map_err(|_| SniError::ALERT_FATAL);
                }
            }
            Ok(())
        });
        connection(&context.build())
    }
}

/// The next handshake requests no certificate.
const NOTHING: u8 = 0;
const CERTIFICATE: u8 = 1;
/// The next handshake requests the certificate, and refuses it.
const REFUSAL: u8 = 2;

/// The stream of one connection.
pub struct LateStream<S>(Arc<Mutex<SslStream<S>>>);

/// The handle that requests the client's certificate on one connection.
pub struct LateClient<S> {
    stream: Arc<Mutex<SslStream<S>>>,
    handshakes: Handshakes,
    request: Arc<AtomicU8>,
}

fn lock<S>(stream: &Mutex<SslStream<S>>) -> MutexGuard<'_, SslStream<S>> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + AsyncWrite + Unpin> LateClient<S> {
    /// Returns the server name that the client sent (RFC 6066, section 3).
    pub fn server_name(&self) -> Option<String> {
        lock(&self.stream).ssl().servername(NameType::HOST_NAME).map(str::to_owned)
    }

    /// Renegotiates and requests the client's certificate. Returns the chain that the client sent (DER, leaf first).
    /// The result is `None` if the client sent no certificate.
    ///
    /// The caller must have read the whole request, and must not answer before this method has ended.
    ///
    /// # Errors
    /// An I/O error if the client refuses to renegotiate, or if the connection ends.
    pub async fn request_certificate(&self) -> io::Result<Option<Vec<Vec<u8>>>> {
        self.request.store(CERTIFICATE, Ordering::Release);
        self.renegotiate_without_request().await?;
        self.chain()
    }

    /// Renegotiates, requests the client's certificate and refuses it by the TLS alert `certificate_revoked`. The
    /// function then waits until the client has closed the connection. Unread data would end the connection by a reset,
    /// which can arrive before the alert. The caller must limit the time.
    ///
    /// # Errors
    /// An I/O error if the client sent a certificate, and the errors of [`LateClient::request_certificate`].
    pub async fn refuse_certificate(&self) -> io::Result<Option<Vec<Vec<u8>>>> {
        self.request.store(REFUSAL, Ordering::Release);
        let refused = self.renegotiate_without_request().await;
        if refused.is_err() {
            std::future::poll_fn(|cx| self.poll_closed(cx)).await;
        }
        refused.and_then(|()| self.chain())
    }

    /// Reads and drops the client's data until the client closes the connection.
    fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut stream = lock(&self.stream);
        let mut bytes = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(stream.get_mut()).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// Returns the chain that the client sent.
    fn chain(&self) -> io::Result<Option<Vec<Vec<u8>>>> {
        let stream = lock(&self.stream);
        let ssl = stream.ssl();
        let Some(leaf) = ssl.peer_certificate() else { return Ok(None) };
        let mut chain = vec![leaf.to_der()?];
        for issuer in ssl.peer_cert_chain().into_iter().flatten() {
            chain.push(issuer.to_der()?);
        }
        Ok(Some(chain))
    }

    /// Renegotiates without a change of the request for the certificate. This is for tests of clients.
    ///
    /// # Errors
    /// The errors of [`LateClient::request_certificate`].
    pub async fn renegotiate_without_request(&self) -> io::Result<()> {
        let before = self.handshakes.count();
        raw::renegotiate(&mut lock(&self.stream))?;
        std::future::poll_fn(|cx| {
            Pin::new(&mut *lock(&self.stream)).poll_do_handshake(cx).map_err(io::Error::other)
        })
        .await?;
        std::future::poll_fn(|cx| self.poll_finished(cx, before)).await
    }

    fn poll_finished(&self, cx: &mut Context<'_>, before: usize) -> Poll<io::Result<()>> {
        let mut stream = lock(&self.stream);
        let is_finished =
            |stream: &SslStream<S>| self.handshakes.count() > before && stream.ssl().is_init_finished();
        if is_finished(&stream) {
            return Poll::Ready(Ok(()));
        }
        // OpenSSL processes the client's handshake messages while this method waits for the client's next data.
        let peeked = Pin::new(&mut *stream).poll_peek(cx, &mut [0]);
        if is_finished(&stream) {
            return Poll::Ready(Ok(()));
        }
        let what = match ready!(peeked) {
            Err(error) => return Poll::Ready(Err(io::Error::other(error))),
            Ok(0) => "the client closed the connection instead of renegotiating",
            Ok(_) => "the client sent data instead of renegotiating",
        };
        Poll::Ready(Err(io::Error::other(what)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for LateStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LateStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.0)).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_shutdown(cx)
    }
}
