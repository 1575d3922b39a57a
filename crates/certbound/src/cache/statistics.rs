//! The counters of a cache. Up to 16 threads count their hits without contention.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The counters of a cache since its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// The number of tokens in memory.
    pub tokens: usize,
    /// The approximate memory of these tokens, in bytes.
    pub bytes: usize,
    /// Acquisitions that got a token from memory at once.
    pub hits: u64,
    /// Acquisitions that found no fresh token in memory, or ignored the token in memory.
    pub misses: u64,
    /// Misses that waited for a request of another caller.
    pub joined: u64,
    /// Tokens that were put into memory.
    pub stored: u64,
    /// Tokens that a full cache evicted.
    pub evicted: u64,
    /// Background refreshes of tokens that were still fresh.
    pub refreshes: u64,
    /// Refreshes in the background that failed.
    pub failed_refreshes: u64,
    /// Misses for which the store had the token.
    pub from_store: u64,
    /// Failures of the store.
    pub store_failures: u64,
    /// Acquisitions that got an older token during an outage, or after the refusal of a new certificate. The older
    /// token is in its last five minutes, or belongs to an earlier certificate.
    pub in_outage: u64,
}

/// An event that is counted. The variants are in the order of `Counters::others`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Miss,
    Joined,
    Stored,
    Evicted,
    Refresh,
    FailedRefresh,
    InOutage,
    FromStore,
    Hit,
}

/// The number of counters for hits. Up to 16 threads use different counters, so that they do not contend for one
/// counter.
const SHARDS: usize = 16;

#[derive(Default)]
pub(super) struct Counters {
    hits: [Shard; SHARDS],
    others: [AtomicU64; 8],
}

/// A counter that shares no cache line of the processor with another counter.
#[derive(Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

impl Counters {
    pub(super) fn count(&self, what: Counted) {
        if what == Counted::Hit {
            self.hit();
        } else if let Some(counter) = self.others.get(what as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hit(&self) {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static SHARD: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
        }
        if let Some(Shard(counter)) = self.hits.get(SHARD.with(|shard| *shard)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self, tokens: usize, bytes: usize, store_failures: u64) -> CacheStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [misses, joined, stored, evicted, refreshes, failed_refreshes, in_outage, from_store] =
            self.others.each_ref().map(read);
        CacheStatistics {
            tokens,
            bytes,
            hits: self.hits.iter().map(|Shard(counter)| read(counter)).sum(),
            misses,
            joined,
            stored,
            evicted,
            refreshes,
            failed_refreshes,
            in_outage,
            from_store,
            store_failures,
        }
    }
}
