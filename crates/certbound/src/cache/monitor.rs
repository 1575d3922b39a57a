//! A reader of a cache's counters, for metrics.

use std::fmt;
use std::sync::{Arc, Weak};

use super::{CacheStatistics, Inner, TokenCache};

/// Reads the counters of a [`TokenCache`]. It does not keep the cache or its tokens in memory.
#[derive(Clone)]
pub struct CacheMonitor(Weak<Inner>);

impl CacheMonitor {
    pub(super) fn new(cache: &Arc<Inner>) -> Self {
        Self(Arc::downgrade(cache))
    }

    /// Returns the counters of the cache, or `None` after the last clone of the cache was dropped.
    pub fn statistics(&self) -> Option<CacheStatistics> {
        self.0.upgrade().map(|inner| TokenCache { inner }.statistics())
    }
}

impl fmt::Debug for CacheMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheMonitor").field(&self.statistics()).finish()
    }
}
