//! The keys whose authorization the TPM has demanded. This process does not try these keys again, because each attempt
//! can lock the TPM.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::error::TpmError;
use crate::handle::KeyHandle;

/// The address of a TPM and the name of a key.
type Key = (String, Vec<u8>);

static REFUSED: LazyLock<Mutex<HashSet<Key>>> = LazyLock::new(Mutex::default);

/// Runs `work` with a key of the TPM at the address, unless the TPM has demanded the authorization of this key before.
/// If the TPM demands it now, the process remembers the key until its end.
pub(crate) fn once<T>(
    address: &str,
    handle: KeyHandle,
    name: &[u8],
    work: impl FnOnce() -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let key = (address.to_owned(), name.to_vec());
    if refused().contains(&key) {
        return Err(TpmError::Authorization { handle });
    }
    let result = work();
    if result.as_ref().is_err_and(|error| *error == TpmError::Authorization { handle }) {
        refused().insert(key);
    }
    result
}

fn refused() -> MutexGuard<'static, HashSet<Key>> {
    // No code panics while the lock is held.
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner)
}
