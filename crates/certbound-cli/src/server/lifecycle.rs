//! The run of a server: it serves until a signal stops it, and it ends at once at a second signal.

use std::future::Future;

use rustix::process::Signal;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

/// The request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGHUP. While the server stops, the signal is ignored.
    Hangup,
    /// Every other signal, until the server begins to stop. After that time the signal ends the server at once.
    Stop,
}

/// The answer to an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

/// The way in which a server has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The requests in progress were answered, or their time limit was reached.
    Gracefully,
    /// A second signal has ended the server.
    AtOnce,
}

/// Runs the future that `serve` returns. That future must end after its receiver is ready.
///
/// `on` is called for each event before the server stops. The result of `on` decides whether the server stops. A signal
/// to stop during the handling of SIGHUP drops the future of `on`. While the server stops, every further signal except
/// SIGHUP ends the server at once, and the requests in progress are not answered.
///
/// # Panics
/// The function panics if the future of `serve` panics.
pub(crate) async fn run<S: Future<Output = ()> + Send + 'static>(
    mut signals: impl AsyncFnMut() -> Signal,
    serve: impl FnOnce(oneshot::Receiver<()>) -> S,
    mut on: impl AsyncFnMut(Event) -> Next,
) -> Ended {
    let (stop, stopped) = oneshot::channel();
    let (mut stop, mut server) = (Some(stop), JoinSet::new());
    server.spawn(serve(stopped));
    // A signal that was received during the handling of an earlier signal.
    let mut waiting = None;
    loop {
        let signal = match waiting.take() {
            Some(signal) => signal,
            None => tokio::select! {
                biased;
                ended = server.join_next() => {
                    resume_panic(ended);
                    return Ended::Gracefully;
                }
                signal = signals() => signal,
            },
        };
        let is_hangup = signal == Signal::HUP;
        if stop.is_none() {
            if !is_hangup {
                tracing::warn!("a second signal ends the server; requests in progress are not answered");
                server.shutdown().await;
                return Ended::AtOnce;
            }
            continue;
        }
        let next = if is_hangup {
            let mut handling = std::pin::pin!(on(Event::Hangup));
            loop {
                tokio::select! {
                    biased;
                    next = &mut handling => break next,
                    signal = signals() => {
                        waiting = Some(signal);
                        if signal != Signal::HUP {
                            break Next::Continue;
                        }
                    }
                }
            }
        } else {
            on(Event::Stop).await
        };
        if next == Next::Stop
            && let Some(stop) = stop.take()
        {
            // If the server has ended, this send fails, and the loop ends.
            let _ = stop.send(());
        }
    }
}

fn resume_panic(ended: Option<Result<(), JoinError>>) {
    if let Some(Err(error)) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn no_signal() -> Signal {
        std::future::pending().await
    }

    #[tokio::test]
    #[should_panic(expected = "a bug")]
    async fn a_server_that_panics_is_no_success() {
        run(no_signal, |_| async { panic!("a bug") }, async |_| Next::Stop).await;
    }

    /// A file on a mount that hangs must not keep a server from stopping.
    #[tokio::test]
    async fn a_reload_that_hangs_is_given_up_for_the_end() {
        let mut signals = [Signal::HUP, Signal::HUP, Signal::TERM].into_iter();
        let signals = async move || match signals.next() {
            Some(signal) => signal,
            None => std::future::pending().await,
        };
        let mut events = Vec::new();
        let serve = |stopped: oneshot::Receiver<()>| async move { drop(stopped.await) };
        let on = async |event: Event| {
            events.push(event);
            if event == Event::Hangup {
                std::future::pending::<()>().await;
            }
            Next::Stop
        };
        assert_eq!(run(signals, serve, on).await, Ended::Gracefully);
        assert_eq!(events, [Event::Hangup, Event::Stop]);
    }
}
