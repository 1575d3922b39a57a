//! The locks of the single flight, apart so that its test can put others in their place.

pub(crate) use std::sync::Mutex;
use std::sync::{MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing of a caller's runs while one of them is held, and every state they pass through is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
