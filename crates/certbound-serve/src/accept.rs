//! The accept loop: a place for each connection, a task for each, and an end for all.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::sync::watch;

use crate::connection::Connection;
use crate::limits::Limits;
use crate::listener::Listener;
use crate::places::Places;

/// Where the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Running,
    /// Told to stop: answers under way are still sent.
    Stopping,
    /// Every connection is closed.
    Ended,
}

/// Serves the connections of `listener` until `stop` is ready. Then it accepts no more, waits for the answers under way
/// for at most [`Limits::stop`], and closes every connection.
///
/// `handle` makes what serves one connection; each runs as a task of its own. Dropping the future of this function
/// closes every connection too, without waiting.
pub async fn serve<L, F>(
    mut listener: L,
    limits: Limits,
    stop: impl Future<Output = ()>,
    mut handle: impl FnMut(L::Stream, L::Peer, Connection) -> F,
) where
    L: Listener,
    F: Future<Output = ()> + Send + 'static,
{
    let places = Places::new(limits);
    let (stage, _) = watch::channel(Stage::Running);
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let (stream, peer) = accept(&mut listener, &places).await;
            (stream, peer, places.take().await)
        };
        let (stream, peer, place) = tokio::select! {
            biased;
            () = &mut stop => break,
            next = next => next,
        };
        let mut ended = stage.subscribe();
        let serving = handle(stream, peer, Connection::new(place.seat.clone(), stage.subscribe()));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = place.closed() => {}
                // It fails when the server is gone, which is an end too.
                _ = ended.wait_for(|stage| *stage == Stage::Ended) => {}
                () = serving => {}
            }
        });
    }
    drop(listener);
    stage.send_replace(Stage::Stopping);
    if tokio::time::timeout(places.limits.stop, places.empty()).await.is_err() {
        tracing::debug!("connections are closed whose answers could not be sent in time");
    }
    stage.send_replace(Stage::Ended);
    places.empty().await;
}

/// The first pause after an accept that failed. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The next connection, whatever fails before it.
async fn accept<L: Listener>(listener: &mut L, places: &Places) -> (L::Stream, L::Peer) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors, say. One connection less makes room for that too.
                tracing::warn!(%error, "a connection could not be accepted");
                places.make_room();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether the client has gone away again, which says nothing about the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};

    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
