//! The metrics of the client library.

mod acquisitions;
mod caches;
mod certificates;
mod requests;
mod trace_context;

use std::fmt;
use std::sync::Arc;

use certbound::TokenCache;
use certbound::observe::{
    CompletedAcquisition, CompletedRequest, ObservedRequest, Observer, ThrottledRequest,
};
use opentelemetry::metrics::Meter;

use self::acquisitions::Acquisitions;
use self::caches::Caches;
use self::certificates::Certificates;
use self::requests::Requests;
pub use self::trace_context::OtelTraceContext;
use crate::bounded::Bounded;

/// The metrics of clients and of their caches. Clones share their instruments.
///
/// Register a clone at each client and managed identity (`with_observer`), also at the client of Leg 1, and register
/// each cache ([`ClientMetrics::watch_cache`]). The instruments exist as long as the provider of the meter. Create one
/// value for each provider: a second value reports the same metrics again.
#[derive(Clone)]
pub struct ClientMetrics {
    inner: Arc<Inner>,
}

struct Inner {
    caches: Arc<Caches>,
    acquisitions: Acquisitions,
    requests: Requests,
    certificates: Certificates,
}

impl ClientMetrics {
    /// Registers the instruments at `meter`.
    pub fn new(meter: &Meter) -> Self {
        let (caches, regions) = (Arc::new(Caches::default()), Arc::new(Bounded::default()));
        caches::register(meter, &caches);
        let inner = Inner {
            acquisitions: Acquisitions::register(meter, &regions, &caches),
            requests: Requests::register(meter, &regions),
            certificates: Certificates::register(meter),
            caches,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Reports the counters of `cache`. The metrics read the counters only when a reader collects them. `name` becomes
    /// the attribute `certbound.cache.name`; give each cache its own name, and register it once.
    ///
    /// The metrics do not keep the cache in memory. A cache is not reported after its last clone was dropped.
    pub fn watch_cache(&self, name: &str, cache: &TokenCache) {
        self.inner.caches.add(name, cache.monitor());
    }
}

impl Observer for ClientMetrics {
    fn before_request(&self, _: &ObservedRequest) {}

    fn after_request(&self, request: &CompletedRequest<'_>) {
        self.inner.requests.record(request);
    }

    fn throttled(&self, request: &ThrottledRequest<'_>) {
        self.inner.requests.throttled(request);
    }

    fn after_acquisition(&self, acquisition: &CompletedAcquisition<'_>) {
        self.inner.acquisitions.record(acquisition);
        self.inner.certificates.record(acquisition);
    }
}

impl fmt::Debug for ClientMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMetrics").finish_non_exhaustive()
    }
}
