//! A connection that records the facts of its handshake. If the client presented its certificate and the connection
//! ends before the server sent anything, the connection records the error too.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Error;
use crate::failure::interrupted;

/// The facts of a connection's handshake. Without TLS every field is false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Whether our certificate was presented, because the server requested it.
    pub presented: bool,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
    /// Whether HTTP/2 was negotiated.
    pub http2: bool,
}

/// The facts of a connection that belong to an answer or an error.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    pub(crate) facts: TlsFacts,
    /// The error that ended the connection before the server sent anything. The HTTP library may report only that the
    /// connection is closed.
    ended: Arc<OnceLock<Error>>,
}

impl Shown {
    pub(crate) fn ended(&self) -> Option<Error> {
        self.ended.get().cloned()
    }
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One connection, plain or TLS.
///
/// In TLS 1.3 the server checks our certificate after the client has finished the handshake. So a connection that ends
/// before the server sent anything may have ended because of the certificate.
pub(crate) struct Stream {
    stream: TokioIo<Box<dyn Io>>,
    /// Whether our certificate was presented and the server has sent nothing since the handshake.
    fresh: bool,
    shown: Shown,
}

impl Stream {
    pub(crate) fn new(stream: impl Io + 'static, facts: TlsFacts) -> Self {
        let shown = Shown { facts, ended: Arc::default() };
        Self { stream: TokioIo::new(Box::new(stream)), fresh: facts.presented, shown }
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result.map_err(interrupted) {
            Poll::Ready(Err(error)) if self.fresh => {
                let (kind, is_sudden) = (error.kind(), is_sudden(&error));
                let reason = error.into();
                let ended = match is_sudden {
                    true => Error::EndedAfterCertificate { reason },
                    false => Error::Interrupted { reason },
                };
                // The first error causes all later errors, so each of them reports the first error.
                let ended = self.shown.ended.get_or_init(|| ended);
                Poll::Ready(Err(io::Error::new(kind, ended.clone())))
            }
            result => result,
        }
    }
}

/// Returns whether the server ended the connection without a reason: by a reset, or by the alert `handshake_failure`.
/// An error that this client found in the server's handshake does not count.
pub(crate) fn is_sudden(error: &io::Error) -> bool {
    use rustls::AlertDescription;

    let alert = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(alert, Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)))
        || matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
        )
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.shown.clone());
        if self.shown.facts.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.fresh = false;
        }
        self.note(result)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(result)
    }

    /// Sends the closing alert if the socket accepts it at once. A server that does not read must not keep the
    /// connection open.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Pending => Poll::Ready(Ok(())),
            ended => ended,
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, ReadBuf};

    use super::*;

    /// A connection whose server closes it without the closure alert of TLS.
    struct Abrupt;

    impl AsyncRead for Abrupt {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed: https://docs.rs")))
        }
    }

    impl AsyncWrite for Abrupt {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn an_abrupt_end_is_a_sentence() {
        for presented in [false, true] {
            let mut stream = TokioIo::new(Stream::new(Abrupt, TlsFacts { presented, ..TlsFacts::default() }));
            let read = stream.read(&mut [0; 8]).await;
            let text = read.unwrap_err().to_string();
            assert!(text.ends_with("the connection ended before the answer was complete"), "{text}");
        }
    }
}
