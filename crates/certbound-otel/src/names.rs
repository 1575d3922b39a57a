//! The name, unit and description of every metric, and the names of attributes. `docs/observability.md` lists the
//! metrics of the client. `docs/servers.md` lists the metrics of the verifier, with their names in Prometheus. Tests
//! compare the lists.

#[cfg(feature = "client")]
use opentelemetry::metrics::{AsyncInstrument, Counter, Histogram, Meter};

mod verifier;

pub use self::verifier::*;

/// A metric as it is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name of the instrument.
    pub name: &'static str,
    /// The unit, in the notation of UCUM: `s`, `By`, or the counted thing in braces. It is empty for a number without a
    /// unit.
    pub unit: &'static str,
    /// The description of the instrument.
    pub description: &'static str,
}

/// The boundaries of durations in seconds: the boundaries that OpenTelemetry recommends for HTTP, and 1 ms for the
/// cache.
#[cfg(feature = "client")]
const BOUNDARIES: [f64; 15] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

impl Metric {
    const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { name, unit, description }
    }
}

#[cfg(feature = "client")]
impl Metric {
    /// Registers a sum. `read` reports it when metrics are collected.
    pub(crate) fn counter(
        self,
        meter: &Meter,
        read: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
    ) {
        let builder = meter.u64_observable_counter(self.name).with_unit(self.unit);
        builder.with_description(self.description).with_callback(read).build();
    }

    /// Registers a size. `read` reports it when metrics are collected.
    pub(crate) fn gauge(
        self,
        meter: &Meter,
        read: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
    ) {
        let builder = meter.u64_observable_gauge(self.name).with_unit(self.unit);
        builder.with_description(self.description).with_callback(read).build();
    }

    /// Registers a number that can be negative. `read` reports it when metrics are collected.
    pub(crate) fn signed_gauge(
        self,
        meter: &Meter,
        read: impl Fn(&dyn AsyncInstrument<i64>) + Send + Sync + 'static,
    ) {
        let builder = meter.i64_observable_gauge(self.name).with_unit(self.unit);
        builder.with_description(self.description).with_callback(read).build();
    }

    /// Returns an instrument to which events are added.
    pub(crate) fn sum(self, meter: &Meter) -> Counter<u64> {
        meter.u64_counter(self.name).with_unit(self.unit).with_description(self.description).build()
    }

    /// Returns a histogram of durations in seconds.
    pub(crate) fn seconds(self, meter: &Meter) -> Histogram<f64> {
        let builder = meter.f64_histogram(self.name).with_unit(self.unit).with_description(self.description);
        builder.with_boundaries(BOUNDARIES.to_vec()).build()
    }
}

/// Attributes of metrics, and their values. The fields of the spans of `certbound` have the same names.
pub mod attribute {
    /// The number of an Entra refusal, such as 700027.
    pub const AADSTS: &str = "certbound.aadsts";
    /// The flow of an acquisition: `client_credentials`, `on_behalf_of`, `system_assigned_identity` or
    /// `user_assigned_identity`.
    pub const API: &str = "certbound.api";
    /// The name that the program gave to a cache.
    pub const CACHE_NAME: &str = "certbound.cache.name";
    /// The application's id, or the name of the managed identity: `system`, or for example `client-id:` with an id.
    pub const CLIENT_ID: &str = "certbound.client_id";
    /// The code of an error (`Error::code`), an HTTP status, or `_OTHER`.
    pub const ERROR_TYPE: &str = "error.type";
    /// The issuer whose keys are fetched.
    pub const ISSUER: &str = "certbound.issuer";
    /// The leg, `1` or `2`. The direct flow and platforms have no legs.
    pub const LEG: &str = "certbound.leg";
    /// The outcome of an acquisition (`success`, `failure` or `cancelled`), of a decision (`accepted` or `refused`), or
    /// of a fetch of keys (`fetched`, `withdrawn` or `failed`).
    pub const OUTCOME: &str = "certbound.outcome";
    /// The reason why the cache did not answer: `forced_or_claims`, `no_cached_token`, `expired`, `proactive` or
    /// `cache_disabled`.
    pub const REFRESH_REASON: &str = "certbound.refresh_reason";
    /// The code of a refusal.
    pub const REFUSAL_CODE: &str = "certbound.refusal.code";
    /// The region of the token endpoint. A global endpoint has no region.
    pub const REGION: &str = "certbound.region";
    /// The origin of a token: `cache`, `store`, `joined`, `token_service` or `platform`.
    pub const SOURCE: &str = "certbound.source";
    /// The HTTP status of a response.
    pub const STATUS: &str = "http.response.status_code";
    /// The kind of server: `token_service`, `platform` or `discovery`.
    pub const TARGET: &str = "certbound.target";
    /// The type of a token: `mtls_pop` for a bound token, otherwise `bearer`.
    pub const TOKEN_TYPE: &str = "certbound.token_type";

    /// The outcome of an acquisition that returned a token.
    pub const SUCCESS: &str = "success";
    /// The outcome of an acquisition that returned an error.
    pub const FAILURE: &str = "failure";
    /// The outcome of an acquisition whose future was dropped.
    pub const CANCELLED: &str = "cancelled";
}

/// The acquisitions.
pub const ACQUISITIONS: Metric =
    Metric::new("certbound.acquisitions", "{acquisition}", "Acquisitions of a token, cache hits included.");
/// The duration of an acquisition.
pub const ACQUISITION_DURATION: Metric = Metric::new(
    "certbound.acquisition.duration",
    "s",
    "The duration of an acquisition that was not a cache hit.",
);
/// The duration of Leg 1.
pub const LEG1_DURATION: Metric =
    Metric::new("certbound.leg1.duration", "s", "The duration of Leg 1 in an acquisition of Leg 2.");
/// The duration of a look-up.
pub const CACHE_DURATION: Metric = Metric::new(
    "certbound.cache.duration",
    "s",
    "The duration of the look-up in the cache and its store, before a request.",
);
/// The duration of a request.
pub const REQUEST_DURATION: Metric = Metric::new(
    "certbound.request.duration",
    "s",
    "The duration of one HTTP request to a token service, a platform or for discovery.",
);
/// The requests that were not sent.
pub const REQUESTS_THROTTLED: Metric = Metric::new(
    "certbound.request.throttled",
    "{request}",
    "Requests that were not sent because the service had asked to wait.",
);
/// The time until a certificate expires.
pub const CERTIFICATE_EXPIRY: Metric = Metric::new(
    "certbound.certificate.expiry",
    "s",
    "The time until the certificate of a client expires. It is negative afterwards.",
);
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
pub const CLIENT: [Metric; 19] = [
    ACQUISITIONS,
    ACQUISITION_DURATION,
    LEG1_DURATION,
    CACHE_DURATION,
    REQUEST_DURATION,
    REQUESTS_THROTTLED,
    CERTIFICATE_EXPIRY,
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
