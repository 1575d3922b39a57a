//! The name, unit and description of every metric, and the names of attributes. `docs/observability.md` has the same
//! list, and a test compares the two.

mod verifier;

pub use self::verifier::*;

/// A metric as it is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name of the instrument.
    pub name: &'static str,
    /// The unit, in the notation of UCUM: `s`, `By`, or the counted thing in braces.
    pub unit: &'static str,
    /// The description of the instrument.
    pub description: &'static str,
}

impl Metric {
    const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { name, unit, description }
    }
}

/// Attributes of metrics.
pub mod attribute {
    /// The name that the program gave to a cache.
    pub const CACHE_NAME: &str = "certbound.cache.name";
    /// The issuer whose keys are fetched.
    pub const ISSUER: &str = "certbound.issuer";
    /// The outcome of a decision (`accepted` or `refused`) or of a fetch of keys (`fetched`, `withdrawn` or `failed`).
    pub const OUTCOME: &str = "certbound.outcome";
    /// The code of a refusal.
    pub const REFUSAL_CODE: &str = "certbound.refusal.code";
}

/// The tokens in memory now.
pub const CACHE_TOKENS: Metric =
    Metric::new("certbound.cache.tokens", "{token}", "The number of tokens in memory.");
/// The memory of the tokens.
pub const CACHE_MEMORY: Metric =
    Metric::new("certbound.cache.memory", "By", "The approximate memory of the cached tokens.");
/// The hits.
pub const CACHE_HITS: Metric =
    Metric::new("certbound.cache.hits", "{acquisition}", "Acquisitions that got a fresh token from memory.");
/// The misses.
pub const CACHE_MISSES: Metric = Metric::new(
    "certbound.cache.misses",
    "{acquisition}",
    "Acquisitions that found no fresh token in memory.",
);
/// The misses that waited for a request of another caller.
pub const CACHE_JOINED: Metric = Metric::new(
    "certbound.cache.joined",
    "{acquisition}",
    "Misses that waited for the request of another acquisition.",
);
/// The tokens that were put into memory.
pub const CACHE_STORED: Metric =
    Metric::new("certbound.cache.stored", "{token}", "Tokens that were put into memory.");
/// The tokens that were evicted.
pub const CACHE_EVICTIONS: Metric = Metric::new(
    "certbound.cache.evictions",
    "{token}",
    "Tokens that were evicted because the cache was full.",
);
/// The refreshes ahead.
pub const CACHE_REFRESHES: Metric = Metric::new(
    "certbound.cache.refreshes",
    "{refresh}",
    "Refreshes that started in the background while the old token was fresh.",
);
/// The refreshes ahead that failed.
pub const CACHE_REFRESH_FAILURES: Metric =
    Metric::new("certbound.cache.refresh.failures", "{refresh}", "Refreshes in the background that failed.");
/// The misses that were served in an outage.
pub const CACHE_OUTAGE_HITS: Metric = Metric::new(
    "certbound.cache.outage.hits",
    "{acquisition}",
    "Misses that got an older token because the token service was unavailable.",
);
/// The misses that the store answered.
pub const CACHE_STORE_HITS: Metric =
    Metric::new("certbound.cache.store.hits", "{acquisition}", "Misses for which the store had the token.");
/// The failures of the store.
pub const CACHE_STORE_FAILURES: Metric =
    Metric::new("certbound.cache.store.failures", "{failure}", "Failures of the store.");

/// Every metric of the client library.
pub const CLIENT: [Metric; 12] = [
    CACHE_TOKENS,
    CACHE_MEMORY,
    CACHE_HITS,
    CACHE_MISSES,
    CACHE_JOINED,
    CACHE_STORED,
    CACHE_EVICTIONS,
    CACHE_REFRESHES,
    CACHE_REFRESH_FAILURES,
    CACHE_OUTAGE_HITS,
    CACHE_STORE_HITS,
    CACHE_STORE_FAILURES,
];
