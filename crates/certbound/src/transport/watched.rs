//! A TLS connection that knows whether anything came on it since our certificate was sent.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::error::TransportError;

/// By TLS 1.3 the server looks at a certificate after the handshake, so far as the client sees it: a connection that ends
/// before anything came may have ended for the certificate.
pub(super) struct Watched {
    stream: TokioIo<TlsStream<TcpStream>>,
    /// The host, while nothing came since our certificate was sent.
    fresh: Option<Box<str>>,
    ended: Ended,
}

/// What ended a connection before anything came on it. The HTTP library may say no more than that there is no connection.
#[derive(Clone, Default)]
pub(super) struct Ended(Arc<OnceLock<TransportError>>);

impl Ended {
    pub(super) fn why(&self) -> Option<TransportError> {
        self.0.get().cloned()
    }
}

impl Watched {
    /// `host` where a certificate was presented to it.
    pub(super) fn new(stream: TlsStream<TcpStream>, host: Option<&str>) -> (Self, Ended) {
        let ended = Ended::default();
        let watched =
            Self { stream: TokioIo::new(stream), fresh: host.map(Into::into), ended: ended.clone() };
        (watched, ended)
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let (Poll::Ready(Err(error)), Some(host)) = (&result, &self.fresh) {
            let (host, reason) = (host.to_string(), error.to_string());
            let ended = match is_sudden(error) {
                true => TransportError::EndedAfterCertificate { host, reason },
                false => TransportError::Interrupted { host, reason },
            };
            // The first one is the reason.
            let _ = self.ended.0.set(ended);
        }
        result
    }
}

/// Whether it is how a server ends a connection without a reason: a reset, or the alert that gives none. What we refuse
/// about the server is neither.
pub(super) fn is_sudden(error: &io::Error) -> bool {
    use rustls::{AlertDescription, Error};

    let alert = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    matches!(alert, Some(Error::AlertReceived(AlertDescription::HandshakeFailure)))
        || matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
        )
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.fresh = None;
        }
        self.note(result)
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note(result)
    }
}
