//! The counters of caches. They are read when metrics are collected, so they add no cost to a cache hit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use certbound::cache::{CacheMonitor, CacheStatistics};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::names::{self, Metric, attribute};

/// The caches that are reported.
#[derive(Default)]
pub(super) struct Caches(Mutex<List>);

#[derive(Default)]
struct List {
    watched: Vec<Watched>,
    /// The hits of dropped caches, so that the sum of all hits never decreases.
    hits_of_dropped: u64,
}

struct Watched {
    attributes: [KeyValue; 1],
    cache: CacheMonitor,
    /// The number of hits at the last read of the cache.
    hits: u64,
}

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
        self.list().watched.push(Watched { attributes, cache, hits: 0 });
    }

    /// Returns the hits of all caches together.
    pub(super) fn hits(&self) -> u64 {
        let mut list = self.list();
        list.read(|_, _| {});
        list.hits_of_dropped + list.watched.iter().map(|watched| watched.hits).sum::<u64>()
    }

    /// Calls `report` with the statistics of each cache.
    fn for_each(&self, report: impl FnMut(&CacheStatistics, &[KeyValue])) {
        self.list().read(report);
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // Each change of the list is one step, so the list is usable even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// Calls `report` with the statistics of each cache. Caches that were dropped are removed, but their hits are kept.
    fn read(&mut self, mut report: impl FnMut(&CacheStatistics, &[KeyValue])) {
        let Self { watched, hits_of_dropped } = self;
        watched.retain_mut(|watched| match watched.cache.statistics() {
            Some(statistics) => {
                watched.hits = statistics.hits;
                report(&statistics, &watched.attributes);
                true
            }
            None => {
                *hits_of_dropped += watched.hits;
                false
            }
        });
    }
}

/// Registers an instrument for each number of a cache.
pub(super) fn register(meter: &Meter, caches: &Arc<Caches>) {
    for (metric, read) in COUNTERS {
        let caches = Arc::clone(caches);
        metric.counter(meter, move |observer| caches.for_each(|it, of| observer.observe(read(it), of)));
    }
    for (metric, read) in SIZES {
        let caches = Arc::clone(caches);
        metric.gauge(meter, move |observer| caches.for_each(|it, of| observer.observe(read(it), of)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_reads_its_own_number() {
        let mut statistics = CacheStatistics::default();
        statistics.hits = 1;
        statistics.misses = 2;
        statistics.joined = 3;
        statistics.stored = 4;
        statistics.evicted = 5;
        statistics.refreshes = 6;
        statistics.failed_refreshes = 7;
        statistics.in_outage = 8;
        statistics.from_store = 9;
        statistics.store_failures = 10;
        statistics.tokens = 11;
        statistics.bytes = 12;
        let read = |(metric, read): (Metric, Read)| (metric.name, read(&statistics));
        let numbers: Vec<_> = COUNTERS.into_iter().chain(SIZES).map(read).collect();
        let expected = [
            ("certbound.cache.hits", 1),
            ("certbound.cache.misses", 2),
            ("certbound.cache.joined", 3),
            ("certbound.cache.stored", 4),
            ("certbound.cache.evictions", 5),
            ("certbound.cache.refreshes", 6),
            ("certbound.cache.refresh.failures", 7),
            ("certbound.cache.outage.hits", 8),
            ("certbound.cache.store.hits", 9),
            ("certbound.cache.store.failures", 10),
            ("certbound.cache.tokens", 11),
            ("certbound.cache.memory", 12),
        ];
        assert_eq!(numbers, expected);
    }
}
