//! The counters of caches, which are read when metrics are collected. A cache hit costs nothing more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use certbound::cache::{CacheMonitor, CacheStatistics};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::names::{self, Metric, attribute};

/// The caches that are reported, with their attributes.
#[derive(Default)]
pub(super) struct Caches(Mutex<Vec<([KeyValue; 1], CacheMonitor)>>);

/// Reads one number of a cache.
type Read = fn(&CacheStatistics) -> u64;

/// The sums that never decrease.
const COUNTERS: [(Metric, Read); 10] = [
    (names::CACHE_HITS, |it| it.hits),
    (names::CACHE_MISSES, |it| it.misses),
    (names::CACHE_JOINED, |it| it.joined),
    (names::CACHE_STORED, |it| it.stored),
    (names::CACHE_EVICTIONS, |it| it.evicted),
    (names::CACHE_REFRESHES, |it| it.refreshes),
    (names::CACHE_REFRESH_FAILURES, |it| it.failed_refreshes),
    (names::CACHE_OUTAGE_HITS, |it| it.in_outage),
    (names::CACHE_STORE_HITS, |it| it.from_store),
    (names::CACHE_STORE_FAILURES, |it| it.store_failures),
];

/// The sizes, which increase and decrease.
const SIZES: [(Metric, Read); 2] =
    [(names::CACHE_TOKENS, |it| it.tokens as u64), (names::CACHE_MEMORY, |it| it.bytes as u64)];

impl Caches {
    pub(super) fn add(&self, name: &str, cache: CacheMonitor) {
        let attributes = [KeyValue::new(attribute::CACHE_NAME, name.to_owned())];
        self.list().push((attributes, cache));
    }

    /// Calls `report` with the statistics of each cache. It forgets caches that were dropped.
    fn for_each(&self, report: impl Fn(&CacheStatistics, &[KeyValue])) {
        self.list().retain(|(attributes, cache)| {
            let statistics = cache.statistics();
            if let Some(statistics) = &statistics {
                report(statistics, attributes);
            }
            statistics.is_some()
        });
    }

    fn list(&self) -> MutexGuard<'_, Vec<([KeyValue; 1], CacheMonitor)>> {
        // Each change of the list is one step, so the list is usable even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registers an instrument for each number of a cache.
pub(super) fn register(meter: &Meter, caches: &Arc<Caches>) {
    for (metric, read) in COUNTERS {
        let caches = Arc::clone(caches);
        meter
            .u64_observable_counter(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.description)
            .with_callback(move |observer| caches.for_each(|it, of| observer.observe(read(it), of)))
            .build();
    }
    for (metric, read) in SIZES {
        let caches = Arc::clone(caches);
        meter
            .u64_observable_gauge(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.description)
            .with_callback(move |observer| caches.for_each(|it, of| observer.observe(read(it), of)))
            .build();
    }
}
