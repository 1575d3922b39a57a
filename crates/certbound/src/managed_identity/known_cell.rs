//! The cell of an identity's certificate, once it is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::certificate_cell::CertificateCell;

/// Each hit reads this cell. In most cases it is the first one that was set, and reading it changes no reference count.
#[derive(Default)]
pub(crate) struct KnownCell {
    first: OnceLock<Arc<CertificateCell>>,
    /// A later cell, if the name now means a different identity, for example because the identity was created again.
    later: ArcSwapOption<CertificateCell>,
    is_later: AtomicBool,
}

impl KnownCell {
    pub(super) fn look<T>(&self, look: impl FnOnce(&CertificateCell) -> T) -> Option<T> {
        match self.is_later.load(Ordering::Acquire) {
            false => self.first.get().map(|cell| look(cell)),
            true => self.later.load().as_deref().map(look),
        }
    }

    pub(super) fn get(&self) -> Option<Arc<CertificateCell>> {
        match self.is_later.load(Ordering::Acquire) {
            false => self.first.get().cloned(),
            true => self.later.load_full(),
        }
    }

    pub(super) fn set(&self, cell: &Arc<CertificateCell>) {
        let is_later = !Arc::ptr_eq(self.first.get_or_init(|| Arc::clone(cell)), cell);
        if is_later {
            self.later.store(Some(Arc::clone(cell)));
        }
        self.is_later.store(is_later, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_set_last_is_known() {
        let (known, one, other) = (
            KnownCell::default(),
            Arc::new(CertificateCell::default()),
            Arc::new(CertificateCell::default()),
        );
        assert!(known.get().is_none() && known.look(|_| ()).is_none());
        for cell in [&one, &one, &other, &one, &other, &other] {
            known.set(cell);
            assert!(known.get().is_some_and(|found| Arc::ptr_eq(&found, cell)));
            assert!(known.look(|found| std::ptr::eq(found, &**cell)).unwrap());
        }
    }
}
