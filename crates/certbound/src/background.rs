//! Background tasks. They end when the last clone of their client is dropped.

use std::sync::{Mutex, PoisonError, Weak};

use tokio::task::JoinSet;

/// The background tasks of one client. The clones of the client and its resources own this value by an `Arc`. Tasks and
/// shared parts refer to it only by a `Weak`, so dropping the last clone aborts the tasks.
#[derive(Default)]
pub(crate) struct Background(Mutex<JoinSet<()>>);

impl Background {
    /// Starts `work`. The function does nothing if the client was dropped, or if it is called outside of a tokio
    /// runtime.
    pub(crate) fn spawn(owner: &Weak<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let (Some(owner), Ok(runtime)) = (owner.upgrade(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let mut tasks = owner.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(work, &runtime);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn it_ends_with_its_owner_and_without_one_nothing_begins() {
        let owner = Arc::new(Background::default());
        let (held, watched) = (Arc::new(()), Arc::downgrade(&owner));
        let alive = Arc::downgrade(&held);
        Background::spawn(&watched, async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        tokio::task::yield_now().await;
        assert!(alive.upgrade().is_some());
        drop(owner);
        while alive.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
        Background::spawn(&watched, async { panic!("the task started without its owner") });
        tokio::task::yield_now().await;
    }

    #[test]
    fn without_a_runtime_nothing_begins() {
        let owner = Arc::new(Background::default());
        Background::spawn(&Arc::downgrade(&owner), async { panic!("the task started without a runtime") });
    }
}
