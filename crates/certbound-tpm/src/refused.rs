//! The keys whose authorization the TPM has demanded. The process does not try them again, because each attempt can
//! lock the TPM.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The address of a TPM and the name of a key.
type Key = (String, Vec<u8>);

static REFUSED: LazyLock<Mutex<HashSet<Key>>> = LazyLock::new(Mutex::default);

/// Records a key until the process ends.
pub(crate) fn remember(address: &str, name: &[u8]) {
    // No code panics while the lock is held.
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.insert((address.to_owned(), name.to_vec()));
}

pub(crate) fn contains(address: &str, name: &[u8]) -> bool {
    let refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.contains(&(address.to_owned(), name.to_vec()))
}
