//! Runs a blocking future outside the runtime's worker threads, so that it delays no other task.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Runs `future` on a thread for blocking work. If the caller drops the returned future, the thread drops `future` at
/// its next await point. Returns `None` if the runtime is shutting down or `future` panicked.
pub(crate) async fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (_caller, gone) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                result = future => Some(result),
                _ = gone => None,
            }
        })
    });
    thread.await.ok().flatten()
}
