//! The losses of tokens, which all clients of the process must know.
//!
//! After a module has closed the sessions of a token, it can give their numbers to new sessions. A client that used an
//! old number would then make its calls in the session of another client.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::turn::TokenIdentity;
use crate::module;

/// The number of losses of a token, as a client knows it.
#[derive(Clone)]
pub(crate) struct Losses {
    /// The number of losses that any client of the process has noticed.
    all: Arc<AtomicU64>,
    known: u64,
}

/// The number of losses of each token of the process, by the canonical path of its module and its identity.
type Known = HashMap<(PathBuf, TokenIdentity), Arc<AtomicU64>>;

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

impl Losses {
    /// Returns the losses of a token until now.
    pub(super) fn of(path: &Path, token: &TokenIdentity) -> Self {
        let all = Arc::clone(known().entry((module::canonical(path), token.clone())).or_default());
        Self { known: all.load(Ordering::SeqCst), all }
    }

    /// Returns whether a client has noticed a loss since this value was made.
    pub(super) fn are_more(&self) -> bool {
        self.all.load(Ordering::SeqCst) != self.known
    }

    /// Records a loss for the other clients, unless one of them has recorded this loss before.
    pub(super) fn tell(&self) {
        let _ = self.all.compare_exchange(self.known, self.known + 1, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Records for all clients that every token of a module was lost.
    pub(super) fn tell_all(path: &Path) {
        let path = module::canonical(path);
        for (_, all) in known().iter().filter(|((module, _), _)| *module == path) {
            all.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn known() -> MutexGuard<'static, Known> {
    // No code panics while the lock is held.
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
