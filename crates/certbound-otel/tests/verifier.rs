//! Each decision and each fetch of keys is a metric.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use certbound_otel::{VerifierMetrics, names};
use certbound_verifier::{
    Algorithm, Authorization, Fetch, FetchError, Issuer, PeerCertificate, Scheme, Verifier,
};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

const ISSUER: &str = "https://idp.example";

/// An issuer with one key.
struct Idp;

impl Fetch for Idp {
    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let keys =
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let document = match url.ends_with("/keys") {
            true => keys.to_owned(),
            false => format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{ISSUER}/keys"}}"#),
        };
        Ok(document.into_bytes())
    }
}

#[tokio::test]
async fn each_decision_and_each_fetch_is_a_metric() {
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let metrics = Arc::new(VerifierMetrics::new(&provider.meter("certbound")));
    let verifier = Verifier::builder()
        .issuer(Issuer::oidc(ISSUER, [Algorithm::EdDsa]).unwrap())
        .audience("orders")
        .dangerous_any_caller()
        .with_fetch(Idp)
        .observe(metrics.clone())
        .build()
        .unwrap();
    let watched = verifier.clone();
    metrics.watch_keys(move || watched.key_status());
    let keys_used = || verifier.key_status()[0].state.is_usable();
    verifier.refresh_keys();
    while !keys_used() {
        tokio::task::yield_now().await;
    }
    let refused = verifier.verify(&Authorization::new(Scheme::Bearer, "x"), &PeerCertificate::none()).await;
    assert_eq!(refused.unwrap_err().code(), "malformed_token");
    provider.force_flush().unwrap();
    let exported = exported(&exporter);
    let mut known = names::VERIFIER.map(|metric| metric.name);
    known.sort_unstable();
    assert_eq!(exported.keys().map(String::as_str).collect::<Vec<_>>(), known);
    let of = |name: &str| exported[name].iter().map(String::as_str).collect::<Vec<_>>();
    let decision = "certbound.outcome=refused certbound.refusal.code=malformed_token";
    assert_eq!(of(names::VERIFIER_DECISIONS.name), [decision]);
    assert_eq!(of(names::VERIFIER_DECISION_DURATION.name), ["certbound.outcome=refused"]);
    let fetch = format!("certbound.issuer={ISSUER} certbound.outcome=fetched");
    assert_eq!(of(names::VERIFIER_KEY_FETCHES.name), [fetch.as_str()]);
    assert_eq!(of(names::VERIFIER_KEY_FETCH_DURATION.name), [fetch.as_str()]);
    let issuer = format!("certbound.issuer={ISSUER}");
    assert_eq!(of(names::VERIFIER_KEYS_USABLE.name), [issuer.as_str()]);
    assert_eq!(of(names::VERIFIER_KEYS_FETCH_TIME.name), [issuer.as_str()]);
}

/// Returns the attributes of each data point, by the name of the metric.
fn exported(exporter: &InMemoryMetricExporter) -> BTreeMap<String, Vec<String>> {
    let exports = exporter.get_finished_metrics().unwrap();
    let scopes = exports.last().into_iter().flat_map(|export| export.scope_metrics());
    let metrics = scopes.flat_map(|scope| scope.metrics());
    metrics.map(|metric| (metric.name().to_owned(), points(metric.data()))).collect()
}

fn points(data: &AggregatedMetrics) -> Vec<String> {
    fn text<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
        let mut pairs: Vec<String> = attributes.map(|it| format!("{}={}", it.key, it.value)).collect();
        pairs.sort_unstable();
        pairs.join(" ")
    }
    match data {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            sum.data_points().map(|point| text(point.attributes())).collect()
        }
        AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
            gauge.data_points().map(|point| text(point.attributes())).collect()
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            histogram.data_points().map(|point| text(point.attributes())).collect()
        }
        other => panic!("unexpected data: {other:?}"),
    }
}
