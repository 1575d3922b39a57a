//! The life of a server: it serves until a signal stops it, and it ends at once at a second signal.

use std::future::Future;

use rustix::process::Signal;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::signals::Signals;

/// The request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGHUP. After SIGTERM the signal is ignored.
    Hangup,
    /// Every other signal, when it is received for the first time.
    Stop,
}

/// The answer to an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

/// Runs the future that `serve` returns. That future must end soon after its receiver is ready.
///
/// `on` is called for each event before the server stops. Its result decides whether the server stops. A signal that is
/// received while the server stops ends the server at once, with the requests in progress.
pub(crate) async fn run<S: Future<Output = ()> + Send + 'static>(
    signals: &mut Signals,
    serve: impl FnOnce(oneshot::Receiver<()>) -> S,
    mut on: impl AsyncFnMut(Event) -> Next,
) {
    let (stop, stopped) = oneshot::channel();
    let (mut stop, mut server) = (Some(stop), JoinSet::new());
    server.spawn(serve(stopped));
    loop {
        let signal = tokio::select! {
            biased;
            _ = server.join_next() => return,
            signal = signals.next() => signal,
        };
        let event = if signal == Signal::HUP { Event::Hangup } else { Event::Stop };
        if stop.is_none() {
            if event == Event::Stop {
                tracing::warn!("a second signal ends the server; requests in progress are not answered");
                server.shutdown().await;
                return;
            }
        } else if on(event).await == Next::Stop
            && let Some(stop) = stop.take()
        {
            // If the server has ended, the loop ends too.
            let _ = stop.send(());
        }
    }
}
