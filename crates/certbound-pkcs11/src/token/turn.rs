//! Work on a token that only one thread of the process does at a time.

use std::collections::HashSet;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use cryptoki::slot::TokenInfo;

/// The properties that identify a token in every module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokenIdentity {
    label: String,
    serial: String,
    manufacturer: String,
}

impl TokenIdentity {
    pub(super) fn of(info: &TokenInfo) -> Self {
        let text = |text: &str| text.trim_end().to_owned();
        Self {
            label: text(info.label()),
            serial: text(info.serial_number()),
            manufacturer: text(info.manufacturer_id()),
        }
    }

    /// Returns whether this is the same token, perhaps with a different label.
    pub(crate) fn is_same_token(&self, other: &Self) -> bool {
        (&self.serial, &self.manufacturer) == (&other.serial, &other.manufacturer)
    }
}

/// The work for which a thread takes a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// The login of the user.
    Login,
    /// The search for the key of a machine, and its generation.
    MachineKey,
}

/// The right to do one kind of work on one token. The turn ends when it is dropped.
pub(crate) struct Turn(TokenIdentity, Work);

static TAKEN: LazyLock<Mutex<HashSet<(TokenIdentity, Work)>>> = LazyLock::new(Mutex::default);
static ENDED: Condvar = Condvar::new();

impl Turn {
    /// Waits for the turn. The result is `None` if another thread does not end its turn within `limit`.
    pub(crate) fn wait(token: &TokenIdentity, work: Work, limit: Duration) -> Option<Self> {
        let key = (token.clone(), work);
        // The set under the lock is usable even after a panic.
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = ENDED.wait_timeout_while(taken, limit, |taken| taken.contains(&key));
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        taken.insert(key.clone()).then_some(Self(key.0, key.1))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&(self.0.clone(), self.1));
        ENDED.notify_all();
    }
}
