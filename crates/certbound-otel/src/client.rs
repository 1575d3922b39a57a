//! The metrics of the client library.

mod caches;

use std::sync::Arc;

use certbound::TokenCache;
use opentelemetry::metrics::Meter;

use self::caches::Caches;

/// The metrics of clients and of their caches. Clones share their instruments.
///
/// The instruments exist as long as the provider of the meter. Create one value for each provider: a second value
/// reports the same metrics again.
#[derive(Clone)]
pub struct ClientMetrics {
    caches: Arc<Caches>,
}

impl ClientMetrics {
    /// Registers the instruments at `meter`.
    pub fn new(meter: &Meter) -> Self {
        let caches = Arc::new(Caches::default());
        caches::register(meter, &caches);
        Self { caches }
    }

    /// Reports the counters of `cache`, which are read only when the metrics are collected. `name` becomes the
    /// attribute `certbound.cache.name`; give each cache its own name.
    ///
    /// The metrics do not keep the cache in memory. After the last clone of the cache was dropped, it is not reported.
    pub fn watch_cache(&self, name: &str, cache: &TokenCache) {
        self.caches.add(name, cache.monitor());
    }
}
