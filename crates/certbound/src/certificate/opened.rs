//! The identity of an opened key, and the notification when the last clone of its certificate is dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};

use certbound_core::certificate::Thumbprint;

/// The number of one opening of a private key. A second opening of the key has a different number, because one of the
/// two handles may no longer work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(u64);

/// The owner of data that must not outlive a key.
pub(crate) trait ForgetKey: Send + Sync {
    /// Drops everything that belongs to this key and this certificate.
    fn forget(&self, thumbprint: Thumbprint, key: KeyId);
}

/// The opened key of a certificate. All clones of the certificate share this value.
pub(super) struct Opened {
    thumbprint: Thumbprint,
    key: KeyId,
    told: Mutex<Vec<Weak<dyn ForgetKey>>>,
}

impl Opened {
    pub(super) fn new(thumbprint: Thumbprint) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { thumbprint, key: KeyId(NEXT.fetch_add(1, Ordering::Relaxed)), told: Mutex::default() }
    }

    pub(super) fn key(&self) -> KeyId {
        self.key
    }

    /// Notifies `keeper` when the last clone of the certificate is dropped. A dropped `keeper` is not notified.
    pub(super) fn tell(&self, keeper: Weak<dyn ForgetKey>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&keeper));
        told.push(keeper);
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> usize {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let told = std::mem::take(self.told.get_mut().unwrap_or_else(PoisonError::into_inner));
        for keeper in told.iter().filter_map(Weak::upgrade) {
            keeper.forget(self.thumbprint, self.key);
        }
    }
}
