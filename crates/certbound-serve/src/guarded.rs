//! A stream with the time limits of its connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::activity::{Moment, Phase, millis};
use crate::places::Handle;

/// A timer. It is allocated on first use.
#[derive(Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Returns whether `due` is past. Otherwise the task is woken at `due`.
    pub(crate) fn is_over(&mut self, due: Instant, context: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(context).is_ready()
    }
}

/// The stream on which HTTP is served: a plain stream, or the decrypted side of TLS.
///
/// Reading fails once the head of a request is late or the connection was idle for too long. Writing fails once one
/// write or flush has waited too long. The module `body` limits the time of a request's body. The module `http2` limits
/// the time in which an HTTP/2 connection is not used.
pub(crate) struct Guarded<T> {
    stream: T,
    handle: Handle,
    read: Alarm,
    write: Alarm,
    /// The times since which a write and a flush wait for the client. They are recorded separately, because TLS accepts
    /// writes into its own buffer without sending a byte.
    writing: Option<Instant>,
    flushing: Option<Instant>,
}

impl<T> Guarded<T> {
    pub(crate) fn new(stream: T, handle: Handle) -> Self {
        let (read, write) = (Alarm::default(), Alarm::default());
        Self { stream, handle, read, write, writing: None, flushing: None }
    }

    /// Records that bytes were read.
    fn record_read(&self) -> io::Result<()> {
        let now = self.handle.places().now();
        let open = self.handle.activity().change(|moment| match moment.phase {
            // The first head's time includes the silence before its first byte.
            Phase::New => Moment { phase: Phase::Head, ..moment },
            Phase::Idle => Moment { phase: Phase::Head, since: now },
            _ => moment,
        });
        if open { Ok(()) } else { Err(closed()) }
    }

    /// Returns an error if the client has taken too long to send a head, or to begin a head. Otherwise the task is
    /// woken when this time limit ends.
    fn is_late(&mut self, context: &mut Context<'_>) -> Option<io::Error> {
        let (places, moment) = (self.handle.places(), self.handle.activity().moment());
        let (limit, what) = match moment.phase {
            Phase::New | Phase::Head => (places.limits.head, "the head of a request took too long"),
            Phase::Idle => (places.limits.idle, "the connection was idle for too long"),
            _ => return None,
        };
        let due = places.at(moment.since.saturating_add(millis(limit)));
        self.read.is_over(due, context).then(|| io::Error::new(io::ErrorKind::TimedOut, what))
    }

    fn written<R>(
        &mut self,
        context: &mut Context<'_>,
        since: fn(&mut Self) -> &mut Option<Instant>,
        result: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if result.is_ready() {
            *since(self) = None;
            if self.writing.is_none() && self.flushing.is_none() {
                self.handle.activity().flow();
            }
            return result;
        }
        let began = *since(self).get_or_insert_with(Instant::now);
        if self.handle.activity().stall(self.handle.places().now()) {
            self.handle.waits_for_client();
        }
        let first = self.writing.into_iter().chain(self.flushing).min().unwrap_or(began);
        match self.write.is_over(first + self.handle.places().limits.write, context) {
            true => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client did not read the response in time",
            ))),
            false => Poll::Pending,
        }
    }

    /// Records that every written byte was sent. If the response is complete, the connection becomes idle.
    fn sent(&mut self, context: &mut Context<'_>) {
        if self.handle.activity().moment().phase != Phase::Answered {
            return;
        }
        // No other task leaves this phase: one task serves the connection.
        self.handle.enter(Phase::Idle);
        self.handle.waits_for_client();
        // hyper may have polled for the next request before this call, when no timer was set. hyper does not poll again
        // by itself.
        let _: Option<io::Error> = self.is_late(context);
    }
}

/// The error of reading or writing a connection that the server closes to make room for a new connection.
pub(crate) fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the connection was closed to make room for a new connection",
    )
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => Poll::Ready(self.record_read()),
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => match self.is_late(context) {
                Some(late) => Poll::Ready(Err(late)),
                None => Poll::Pending,
            },
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, |guarded| &mut guarded.writing, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, |guarded| &mut guarded.writing, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        let result = self.written(context, |guarded| &mut guarded.flushing, result);
        if let Poll::Ready(Ok(())) = result {
            self.sent(context);
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(context, |guarded| &mut guarded.flushing, result)
    }
}
