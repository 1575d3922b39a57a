//! The accept loop. Each connection takes a place and runs as a task; all connections are closed when the server ends.

use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;

use crate::connection::Connection;
use crate::limits::Limits;
use crate::listener::Listener;
use crate::load::Load;
use crate::places::{Place, Places};

/// The stages of a server, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Running,
    /// The future `stop` is ready. The server accepts no more connections, but still sends the responses that are in
    /// progress.
    Stopping,
    /// The server closes every open connection.
    Ended,
}

/// Serves the connections of `listener` until `stop` is ready. Then it stops accepting, waits at most [`Limits::stop`]
/// for the responses that are in progress, and closes every connection.
///
/// After `stop`, an idle HTTP/1.1 connection is closed at once, and an idle HTTP/2 client gets GOAWAY. A new connection
/// has 250 ms for its first request. A connection in the listener's queue counts as new while a place is free. A
/// connection that waits for a place is closed.
///
/// `handle` returns the future that serves one connection. Each future runs as a separate task. Dropping the future of
/// this function closes every connection at once.
pub async fn serve<L, F>(
    listener: L,
    limits: Limits,
    stop: impl Future<Output = ()>,
    handle: impl FnMut(L::Stream, L::Peer, Connection) -> F,
) where
    L: Listener,
    F: Future<Output = ()> + Send + 'static,
{
    serve_with_load(listener, limits, Load::default(), stop, handle).await;
}

/// Serves connections as [`serve`] does, and counts the connections and requests in `load`.
pub async fn serve_with_load<L, F>(
    mut listener: L,
    limits: Limits,
    load: Load,
    stop: impl Future<Output = ()>,
    mut handle: impl FnMut(L::Stream, L::Peer, Connection) -> F,
) where
    L: Listener,
    F: Future<Output = ()> + Send + 'static,
{
    let places = Places::new(limits, load);
    let (stage, _) = watch::channel(Stage::Running);
    let mut stop = std::pin::pin!(stop);
    let mut begin = |stream, peer, place: Place| {
        let mut ended = stage.subscribe();
        let serving = handle(stream, peer, Connection::new(place.handle.clone(), stage.subscribe()));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = place.closed() => {}
                // `wait_for` fails if the server was dropped. The connection is closed in this case too.
                _ = ended.wait_for(|stage| *stage == Stage::Ended) => {}
                () = serving => {}
            }
        });
    };
    loop {
        let next = async {
            let (stream, peer) = accept(&mut listener, &places).await;
            (stream, peer, places.take().await)
        };
        tokio::select! {
            biased;
            () = &mut stop => break,
            (stream, peer, place) = next => begin(stream, peer, place),
        }
    }
    // The clients of these connections connected before the server began to stop, and may have sent a request.
    while let Some(place) = places.try_take() {
        match ready_now(tokio::task::coop::unconstrained(listener.accept())).await {
            Some(Ok((stream, peer))) => begin(stream, peer, place),
            Some(Err(error)) if is_of_one_connection(&error) => {}
            _ => break,
        }
    }
    drop(listener);
    stage.send_replace(Stage::Stopping);
    if tokio::time::timeout(places.limits.stop, places.empty()).await.is_err() {
        tracing::debug!("closing connections whose responses could not be sent in time");
    }
    stage.send_replace(Stage::Ended);
    places.empty().await;
}

/// Polls a future once. Returns its output if it is ready.
async fn ready_now<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The pause after the first accept that failed. Each following pause is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Returns the next connection. Retries after every error.
async fn accept<L: Listener>(listener: &mut L, places: &Places) -> (L::Stream, L::Peer) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // The usual cause is that the process has no file descriptor left. Closing a connection frees a
                // descriptor.
                tracing::warn!(%error, "a connection could not be accepted");
                places.make_room();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Returns whether the error concerns one connection only. Usually the client closed it before the server accepted it.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};

    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
