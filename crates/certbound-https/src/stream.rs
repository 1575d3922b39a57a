//! A connection that records the facts of its handshake. If the client presented its certificate, the connection also
//! records an error that ends it before the first data from the server.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::Error;
use crate::failure::{has_tls_error, interrupted};

tokio::task_local! {
    /// The facts of the connection that the request of this task opened last. If an HTTP/2 connection ends before its
    /// first request, the error of the HTTP library does not contain them.
    static OPENED: Arc<Mutex<Option<Shown>>>;
}

/// Sends a request. Returns its result, and the facts of the connection that it opened last.
pub(crate) async fn recording<T>(request: impl Future<Output = T>) -> (T, Option<Shown>) {
    let opened = Arc::default();
    let result = OPENED.scope(Arc::clone(&opened), request).await;
    let opened = opened.lock().unwrap_or_else(PoisonError::into_inner).take();
    (result, opened)
}

/// The facts of a connection's handshake. Without TLS every field is false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Whether the client presented its certificate, because the server requested it. In a resumed session the value is
    /// that of the earlier full handshake.
    pub presented: bool,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
    /// Whether client and server negotiated HTTP/2.
    pub http2: bool,
}

/// The facts of a connection that belong to an answer or an error.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    pub(crate) facts: TlsFacts,
    /// The error that ended the connection before any data from the server. The HTTP library may report only that the
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
/// In TLS 1.3 the server checks the client's certificate after the client has finished the handshake. So a connection
/// that ends without data from the server may have ended because of the certificate.
pub(crate) struct Stream {
    stream: TokioIo<Box<dyn Io>>,
    /// Whether the client presented its certificate and the server has sent nothing since the handshake.
    fresh: bool,
    /// The first error of a write while the connection was fresh. The next read finds the reason.
    unsent: Option<io::Error>,
    shown: Shown,
}

impl Stream {
    pub(crate) fn new(stream: impl Io + 'static, facts: TlsFacts) -> Self {
        let shown = Shown { facts, ended: Arc::default() };
        let _ = OPENED.try_with(|opened| {
            *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown.clone());
        });
        Self { stream: TokioIo::new(Box::new(stream)), fresh: facts.presented, unsent: None, shown }
    }

    /// Keeps the error of a write on a fresh connection, and reports that everything was written.
    ///
    /// A server that rejects the client's certificate sends an alert and closes the connection. The write can fail
    /// before the alert is read, and HTTP/2 writes several times before it reads. The error of the write does not
    /// contain the alert, and would end the connection before the alert is read.
    fn written<T>(&mut self, result: Poll<io::Result<T>>, whole: T) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(Err(error)) if self.fresh && is_closed(&error) => {
                self.unsent.get_or_insert(error);
                Poll::Ready(Ok(whole))
            }
            result => self.note(result),
        }
    }

    /// Reads after a failed write: an alert, or an answer that the server sent early. Without an alert or an answer,
    /// the result is the error of the write.
    fn read_reason(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBufCursor<'_>,
        unsent: &io::Error,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 1024];
        let mut read = ReadBuf::new(&mut bytes);
        // The cursor accepts only as many bytes as it has room for.
        let mut limited = read.take(buffer.remaining());
        let result = ready!(Pin::new(self.stream.inner_mut()).poll_read(cx, &mut limited));
        let length = limited.filled().len();
        read.advance(length);
        match result {
            Ok(()) if length > 0 => {
                self.fresh = false;
                buffer.put_slice(read.filled());
                Poll::Ready(Ok(()))
            }
            Err(error) if has_tls_error(&error) => self.note(Poll::Ready(Err(error))),
            _ => self.note(Poll::Ready(Err(again(unsent)))),
        }
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

/// Returns whether the error means that the connection is closed. In this case a read also returns at once.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

/// Returns the same error of the system again, because an error cannot be cloned.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Returns whether the server ended the handshake by an alert or by closing the connection.
pub(crate) fn is_ended_by_server(error: &io::Error) -> bool {
    alert(error).is_some() || is_closed(error)
}

/// Returns the alert of the server, if the error is an alert.
fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// Returns whether the server ended the connection without a reason: by a reset, or by the alert `handshake_failure`.
/// An error that this client found in the server's handshake does not count.
pub(crate) fn is_sudden(error: &io::Error) -> bool {
    alert(error) == Some(AlertDescription::HandshakeFailure) || is_closed(error)
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
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(unsent) = self.unsent.take() {
            let result = self.read_reason(cx, &mut buffer, &unsent);
            self.unsent = Some(unsent);
            return result;
        }
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
        self.written(result, bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(result, ())
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
        self.written(result, parts.iter().map(|part| part.len()).sum())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

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

    /// A connection whose server has closed it. Each write fails, but a read returns the server's last data or alert.
    struct Closed(Option<rustls::Error>, &'static [u8]);

    impl AsyncRead for Closed {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let (part, rest) = self.1.split_at(self.1.len().min(buffer.remaining()));
            buffer.put_slice(part);
            self.1 = rest;
            Poll::Ready(match self.0.take_if(|_| part.is_empty()) {
                Some(alert) => Err(io::Error::new(io::ErrorKind::InvalidData, alert)),
                None => Ok(()),
            })
        }
    }

    impl AsyncWrite for Closed {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn the_alert_decides_the_error_although_a_write_failed_before_it() {
        use tokio::io::AsyncWriteExt as _;

        let revoked = rustls::Error::AlertReceived(AlertDescription::CertificateRevoked);
        for (alert, is_alert) in [(Some(revoked), true), (None, false)] {
            let connection = Closed(alert, b"");
            let facts = TlsFacts { presented: true, ..TlsFacts::default() };
            let (stream, opened) = recording(async { Stream::new(connection, facts) }).await;
            let mut stream = TokioIo::new(stream);
            stream.write_all(b"PRI * HTTP/2.0").await.unwrap();
            stream.flush().await.unwrap();
            for _ in 0..2 {
                let error = stream.read(&mut [0; 8]).await.unwrap_err();
                assert_eq!(error.to_string().contains("CertificateRevoked"), is_alert, "{error}");
                assert_eq!(error.to_string().contains("after the client certificate"), !is_alert, "{error}");
            }
            let ended = opened.unwrap().ended().unwrap();
            assert_eq!(matches!(ended, Error::Interrupted { .. }), is_alert, "{ended:?}");
            assert_eq!(matches!(ended, Error::EndedAfterCertificate { .. }), !is_alert, "{ended:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_although_a_write_failed_before_it() {
        use tokio::io::AsyncWriteExt as _;

        let facts = TlsFacts { presented: true, ..TlsFacts::default() };
        let mut stream = TokioIo::new(Stream::new(Closed(None, b"HTTP/1.1 413 "), facts));
        stream.write_all(b"POST").await.unwrap();
        let (mut one, mut other) = ([0; 4], [0; 16]);
        assert_eq!(stream.read(&mut one).await.unwrap(), 4);
        let length = stream.read(&mut other).await.unwrap();
        assert_eq!((&one, &other[..length]), (b"HTTP", &b"/1.1 413 "[..]));
        let error = stream.read(&mut one).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(
            stream.write(b"more").await.is_err(),
            "the server has answered, so the error of a write counts"
        );
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
