//! A connection that judges each renegotiation of its server.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use certbound::error::TransportError;
use certbound_core::cause::Cause;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::context::{Client, Handshakes};
use crate::failure;
use crate::raw;
use crate::verified::Verified;

/// The proof that the server requested the certificate on a connection, and that the client presented it. Only
/// [`Stream`] makes this value, so a function that sends a token has a parameter of this type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presented(());

/// The reason why the certificate was not presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPresented {
    #[error("the server answered the first request and did not request the client certificate")]
    NoRenegotiation,
    #[error(
        "the server resumed a TLS session in the renegotiation, and did not request the client certificate"
    )]
    Resumed,
    #[error("the server renegotiated TLS and did not request the client certificate")]
    NotRequested,
    #[error(
        "the server requested the client certificate, but accepts no signature algorithm that the certificate's key supports"
    )]
    NoSignature,
}

/// A renegotiation that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unexpected {
    #[error("the server renegotiated TLS a second time")]
    Twice,
    #[error("the server renegotiated TLS after its answer had begun")]
    TooLate,
    #[error("the server presented a different certificate in the renegotiation")]
    AnotherServer,
}

/// The judgement of a connection. Its stream and the exchange share this value.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether the certificate was presented. The value is `None` at first. A first handshake with the certificate or
    /// the first answer sets it.
    verdict: Option<Result<Presented, NotPresented>>,
    unexpected: Option<Unexpected>,
    /// The number of handshakes when the verdict was made.
    handshakes: usize,
    /// Whether any handshake presented the certificate, even if the server ended that handshake.
    has_presented: bool,
    /// Whether the server has sent any data since the last request.
    has_answered: bool,
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the verdict, or `None` if the stream has not decided yet.
    pub(crate) fn verdict(&self) -> Option<Result<Presented, NotPresented>> {
        self.state().verdict
    }

    /// Returns the renegotiation that ended the connection.
    pub(crate) fn unexpected(&self) -> Option<Unexpected> {
        self.state().unexpected
    }

    /// Records that the client sends a request next.
    pub(crate) fn asks(&self) {
        self.state().has_answered = false;
    }

    /// Returns whether the server may have rejected the certificate if it closes the connection now: the server got the
    /// certificate, and has sent no data since the last request.
    pub(crate) fn may_be_rejected(&self) -> bool {
        let state = self.state();
        state.has_presented && !state.has_answered
    }
}

/// A TLS connection of a client.
///
/// Unless the first handshake presents the certificate, the server may renegotiate once, up to the first byte of its
/// first answer. Any other renegotiation is an error. No byte is written during the allowed renegotiation.
pub(crate) struct Stream {
    stream: SslStream<TcpStream>,
    handshakes: Handshakes,
    verified: Verified,
    /// The server's certificate in the first handshake, DER.
    server: Option<Vec<u8>>,
    /// The error of the first write after the server had closed the connection.
    unsent: Option<io::Error>,
    watch: Watch,
}

impl Stream {
    /// Performs the first handshake with `host`. If this handshake presents the certificate, the server must not
    /// renegotiate.
    pub(crate) async fn connect(
        host: &str,
        Client { ssl, handshakes, verified }: Client,
        tcp: TcpStream,
    ) -> Result<Self, TransportError> {
        let stream = SslStream::new(ssl, tcp);
        let mut stream = stream
            .map_err(|error| TransportError::Tls { host: host.to_owned(), reason: Cause::new(error) })?;
        if let Err(error) = Pin::new(&mut stream).connect().await {
            return Err(failure::handshake(host, verified.untrusted(), error));
        }
        let watch = Watch::default();
        let mut connected = Self { stream, handshakes, verified, server: None, unsent: None, watch };
        connected.server = connected.server_certificate();
        if let Ok(presented) = connected.presented() {
            connected.decide(Ok(presented));
        }
        Ok(connected)
    }

    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    fn server_certificate(&self) -> Option<Vec<u8>> {
        self.stream.ssl().peer_certificate()?.to_der().ok()
    }

    /// Returns whether the last handshake presented the certificate.
    fn presented(&self) -> Result<Presented, NotPresented> {
        let ssl = self.stream.ssl();
        match (raw::certificate_was_requested(ssl), raw::certificate_was_signed(ssl)) {
            (true, true) => Ok(Presented(())),
            (true, false) => Err(NotPresented::NoSignature),
            (false, _) if self.handshakes.count() < 2 => Err(NotPresented::NoRenegotiation),
            (false, _) if ssl.session_reused() => Err(NotPresented::Resumed),
            (false, _) => Err(NotPresented::NotRequested),
        }
    }

    /// Returns the error of this connection. If OpenSSL refused the server's certificate in a renegotiation, the error
    /// contains the reason for the refusal.
    fn broken(&self, error: io::Error) -> io::Error {
        match self.verified.untrusted() {
            Some(untrusted) => io::Error::new(io::ErrorKind::ConnectionAborted, untrusted),
            None => failure::broken(error),
        }
    }

    /// Keeps the error of a write on a closed connection, and reports that everything was written.
    ///
    /// The server may have answered before it read the whole request, or it may have sent an alert. hyper would end the
    /// connection on the error of the write, and would not read the server's data.
    fn written<T>(&mut self, result: Poll<io::Result<T>>, whole: T) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(Err(error)) if is_closed(&error) => {
                self.unsent.get_or_insert(error);
                Poll::Ready(Ok(whole))
            }
            result => result.map_err(|error| self.broken(error)),
        }
    }

    fn decide(&self, verdict: Result<Presented, NotPresented>) {
        let mut state = self.watch.state();
        state.verdict = Some(verdict);
        state.handshakes = self.handshakes.count();
    }

    /// Judges the handshakes so far. `has_data` means that data of the server's answer has arrived.
    fn judge(&self, has_data: bool) -> io::Result<()> {
        let (verdict, decided) = {
            let mut state = self.watch.state();
            state.has_presented |= self.presented().is_ok();
            (state.verdict, state.handshakes)
        };
        let (count, runs) = (self.handshakes.count(), !self.stream.ssl().is_init_finished());
        let unexpected = match verdict {
            None if count > 2 => Some(Unexpected::Twice),
            None if count == 2 && !runs && self.server != self.server_certificate() => {
                Some(Unexpected::AnotherServer)
            }
            None if has_data && runs => Some(Unexpected::TooLate),
            None => None,
            Some(_) if count == decided && !runs => None,
            Some(_) if decided > 1 => Some(Unexpected::Twice),
            Some(_) => Some(Unexpected::TooLate),
        };
        if let Some(unexpected) = unexpected {
            let unexpected = *self.watch.state().unexpected.get_or_insert(unexpected);
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, unexpected));
        }
        if has_data {
            if verdict.is_none() {
                self.decide(self.presented());
            }
            self.watch.state().has_answered = true;
        }
        Ok(())
    }
}

/// Returns whether the error means that the connection is closed. In this case a read also returns at once.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let has_data = buffer.filled().len() > before;
        if let Err(error) = self.judge(has_data) {
            buffer.set_filled(before);
            return Poll::Ready(Err(error));
        }
        match (result, self.unsent.take()) {
            // The server sent nothing more, so the error of the write is the reason.
            (Poll::Ready(Ok(())), Some(unsent)) if !has_data => Poll::Ready(Err(self.broken(unsent))),
            (result, unsent) => {
                self.unsent = unsent;
                result.map_err(|error| self.broken(error))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // OpenSSL would first finish a renegotiation that runs, and then send the bytes.
        self.judge(false)?;
        if self.unsent.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(false)?;
        self.written(result, bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(result, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx).map_err(|error| self.broken(error))
    }
}
