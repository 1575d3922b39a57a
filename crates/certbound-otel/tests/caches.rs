//! Each counter of a cache is a metric.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;

use certbound::{Cloud, ResourceScope, TokenCache};
use certbound_otel::{ClientMetrics, names};
use certbound_testkit::Pair;
use certbound_testkit::emulator::world::builtin;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

#[tokio::test]
async fn each_counter_of_a_cache_is_a_metric() {
    let exporter = InMemoryMetricExporter::default();
    let provider =
        SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let metrics = ClientMetrics::new(&provider.meter("certbound"));
    let (pair, cache) = (Pair::new(), TokenCache::with_capacity(1));
    metrics.watch_cache("tokens", &cache);
    let client = pair.builder(builtin::APP).with_certificate(pair.certificate()).with_cache(cache.clone());
    let client = client.build().unwrap();
    let (vault, graph) = (ResourceScope::key_vault(Cloud::Public), ResourceScope::graph(Cloud::Public));
    for scope in [&vault, &vault, &graph] {
        client.bound_token(scope).await.unwrap();
    }
    provider.force_flush().unwrap();
    let values = values(&exporter);
    let expected = [(names::CACHE_TOKENS, 1), (names::CACHE_HITS, 1), (names::CACHE_MISSES, 2)];
    for (metric, value) in expected.into_iter().chain([(names::CACHE_EVICTIONS, 1)]) {
        assert_eq!(values.get(metric.name), Some(&value), "{}", metric.name);
    }
    assert_eq!(values.get(names::CACHE_MEMORY.name), Some(&(cache.bytes() as u64)));
    let exported: Vec<&str> = values.keys().map(String::as_str).collect();
    let mut known = names::CLIENT.map(|metric| metric.name);
    known.sort_unstable();
    assert_eq!(exported, known);

    drop((client, cache));
    exporter.reset();
    provider.force_flush().unwrap();
    assert_eq!(self::values(&exporter), BTreeMap::new(), "the metrics keep a dropped cache in memory");
}

/// Returns the value of each metric in the last export.
fn values(exporter: &InMemoryMetricExporter) -> BTreeMap<String, u64> {
    let exports = exporter.get_finished_metrics().unwrap();
    let scopes = exports.last().into_iter().flat_map(|export| export.scope_metrics());
    let metrics = scopes.flat_map(|scope| scope.metrics());
    metrics.filter_map(|metric| Some((metric.name().to_owned(), value(metric)?))).collect()
}

fn value(metric: &Metric) -> Option<u64> {
    match metric.data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => sum.data_points().next().map(|it| it.value()),
        AggregatedMetrics::U64(MetricData::Gauge(gauge)) => gauge.data_points().next().map(|it| it.value()),
        other => panic!("{} has other data: {other:?}", metric.name()),
    }
}
