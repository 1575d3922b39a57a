//! The emulator's clock. The emulator reads the time only from this clock. Tests can replace the clock, and the admin
//! interface can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use certbound_core::time::UnixTime;
pub use certbound_verifier::{Clock, SystemClock};

/// A base clock and an offset in seconds. The offset is zero at first.
///
/// The offset changes neither the base clock nor the dates of certificates that were issued before.
pub(crate) struct OffsetClock {
    base: Arc<dyn Clock>,
    offset: AtomicI64,
}

impl OffsetClock {
    pub(crate) fn new(base: Arc<dyn Clock>) -> Self {
        Self { base, offset: AtomicI64::new(0) }
    }

    pub(crate) fn base(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.base)
    }

    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.base.now().as_secs().saturating_add_signed(self.offset_seconds()))
    }

    pub(crate) fn offset_seconds(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }

    /// Adds `seconds` to the offset. A negative number moves the clock back. The offset is at most [`MAX_OFFSET`] in
    /// both directions.
    pub(crate) fn advance(&self, seconds: i64) {
        let moved = |offset: i64| Some(offset.saturating_add(seconds).clamp(-MAX_OFFSET, MAX_OFFSET));
        // The closure always returns `Some`, so the update cannot fail.
        let _ = self.offset.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
    }

    pub(crate) fn reset(&self) {
        self.offset.store(0, Ordering::SeqCst);
    }
}

/// 100 years of 366 days, in seconds. X.509 can express all times within this limit, because their years have four
/// digits.
const MAX_OFFSET: i64 = 100 * 366 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> UnixTime {
            UnixTime::from_secs(1_000)
        }
    }

    #[test]
    fn the_offset_moves_both_ways_and_saturates() {
        let clock = OffsetClock::new(Arc::new(Noon));
        clock.advance(500);
        clock.advance(-200);
        assert_eq!((clock.now().as_secs(), clock.offset_seconds()), (1_300, 300));
        clock.advance(i64::MAX);
        assert_eq!(clock.offset_seconds(), MAX_OFFSET);
        clock.reset();
        clock.advance(i64::MIN);
        assert_eq!(clock.now().as_secs(), 0);
    }
}
