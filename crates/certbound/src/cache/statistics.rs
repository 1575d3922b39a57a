//! What a cache did, counted without getting in the way of its hits.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a cache holds, and what it did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Tokens held.
    pub tokens: usize,
    /// Bytes they take, about.
    pub bytes: usize,
    /// Acquisitions that were served from the cache.
    pub hits: u64,
    /// Acquisitions that found no token they could be served.
    pub misses: u64,
    /// Misses that waited for a request already under way.
    pub joined: u64,
    /// Tokens put into the cache.
    pub stored: u64,
    /// Tokens that were dropped to make room.
    pub evicted: u64,
    /// Refreshes begun in the background, ahead of the end of a token.
    pub refreshes: u64,
    /// Refreshes in the background that failed.
    pub failed_refreshes: u64,
    /// Misses for which the store behind the cache had the token.
    pub from_store: u64,
    /// Times that the store behind the cache failed.
    pub store_failures: u64,
    /// Acquisitions that waited for the service, which was away, and were served a token in its last minutes, or one of an
    /// earlier certificate.
    pub in_outage: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Counted {
    Hit,
    Miss,
    Joined,
    Stored,
    Evicted,
    Refresh,
    FailedRefresh,
    InOutage,
    FromStore,
}

/// Threads count hits apart from one another, so that no two fight for one number.
const SHARDS: usize = 16;

#[derive(Default)]
pub(super) struct Counters {
    hits: [Shard; SHARDS],
    others: [AtomicU64; 8],
}

/// Alone on its lines of the processor's cache.
#[derive(Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

impl Counters {
    pub(super) fn count(&self, what: Counted) {
        let other = match what {
            Counted::Hit => return self.hit(),
            Counted::Miss => 0,
            Counted::Joined => 1,
            Counted::Stored => 2,
            Counted::Evicted => 3,
            Counted::Refresh => 4,
            Counted::FailedRefresh => 5,
            Counted::InOutage => 6,
            Counted::FromStore => 7,
        };
        if let Some(counter) = self.others.get(other) {
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
