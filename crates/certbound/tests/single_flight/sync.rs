//! The locks of the single flight, as loom sees them.

pub(crate) use loom::sync::Mutex;
use loom::sync::MutexGuard;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
