//! Each metric is collected, has the right values, and is in the document.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use certbound::clock::{Clock as _, SystemClock};
use certbound::managed_identity::IdentityId;
use certbound::retry::RetryPolicy;
use certbound::{Cloud, ResourceScope, Secret, TokenCache};
use certbound_otel::{ClientMetrics, names};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, LegKind};
use certbound_testkit::{EmptyStore, Pair, ScriptedTransport};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

/// The metrics with an exporter that keeps them in memory.
struct Collected {
    metrics: ClientMetrics,
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

/// One series of a metric: its attributes as one text, and its value. The value of a histogram is the number of its
/// measurements.
type Series = BTreeMap<String, i64>;

impl Collected {
    fn begin() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        Self { metrics: ClientMetrics::new(&provider.meter("certbound")), provider, exporter }
    }

    fn observer(&self) -> Arc<ClientMetrics> {
        Arc::new(self.metrics.clone())
    }

    /// Collects all metrics: for each name its unit, its kind and its series.
    fn all(&self) -> BTreeMap<String, (String, &'static str, Series)> {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let exports = self.exporter.get_finished_metrics().unwrap();
        let scopes = exports.iter().flat_map(|export| export.scope_metrics());
        let metrics = scopes.flat_map(|scope| scope.metrics());
        let read = |metric: &opentelemetry_sdk::metrics::data::Metric| {
            let (kind, series) = series(metric.data());
            (metric.name().to_owned(), (metric.unit().to_owned(), kind, series))
        };
        metrics.map(read).collect()
    }

    fn series(&self, metric: names::Metric) -> Series {
        self.all().remove(metric.name).map(|(_, _, series)| series).unwrap_or_default()
    }
}

fn series(data: &AggregatedMetrics) -> (&'static str, Series) {
    match data {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            assert!(sum.is_monotonic());
            ("counter", sum.data_points().map(|it| (text(it.attributes()), it.value() as i64)).collect())
        }
        AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
            ("gauge", gauge.data_points().map(|it| (text(it.attributes()), it.value() as i64)).collect())
        }
        AggregatedMetrics::I64(MetricData::Gauge(gauge)) => {
            ("gauge", gauge.data_points().map(|it| (text(it.attributes()), it.value())).collect())
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => (
            "histogram",
            histogram.data_points().map(|it| (text(it.attributes()), it.count() as i64)).collect(),
        ),
        other => panic!("{other:?}"),
    }
}

fn text<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let short = |it: &KeyValue| format!("{}={}", it.key, it.value).replace("certbound.", "");
    let all: BTreeSet<String> = attributes.map(short).collect();
    all.into_iter().collect::<Vec<_>>().join(" ")
}

fn vault() -> ResourceScope {
    ResourceScope::key_vault(Cloud::Public)
}

#[tokio::test]
async fn an_exchange_a_hit_a_refusal_and_a_machine_are_measured() {
    let (collected, pair) = (Collected::begin(), Pair::new());
    let cache = TokenCache::with_capacity(1).with_store(EmptyStore);
    collected.metrics.watch_cache("tokens", &cache);
    let leg1 =
        pair.builder(builtin::APP).with_certificate(pair.certificate()).with_observer(collected.observer());
    let leg2 = pair.builder(builtin::APP).with_assertions(leg1.build().unwrap()).with_cache(cache.clone());
    let leg2 = leg2.with_observer(collected.observer()).build().unwrap();
    let (vault, graph) = (vault(), ResourceScope::graph(Cloud::Public));
    for scope in [&vault, &vault, &vault, &graph] {
        leg2.bound_token(scope).await.unwrap();
    }
    let refusal =
        FaultResult::Refusal { aadsts: 50_013, error: None, status: None, suberror: None, claims: None };
    pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Leg2), refusal));
    let error = leg2.bearer_token(&vault).await.unwrap_err();
    let machine =
        pair.managed_identity(IdentityId::System).with_observer(collected.observer()).build().unwrap();
    machine.bearer_token(&vault).await.unwrap();

    let exchange = "api=client_credentials leg=2 outcome=success refresh_reason=no_cached_token region=westus3 \
                    source=token_service token_type=mtls_pop";
    let refused = format!(
        "aadsts=50013 api=client_credentials error.type={} leg=2 outcome=failure refresh_reason=no_cached_token \
         region=westus3 token_type=bearer",
        error.code()
    );
    let of_machine = "api=system_assigned_identity outcome=success refresh_reason=no_cached_token \
                      source=platform token_type=bearer";
    let expected = [(exchange, 2), (&refused[..], 1), (of_machine, 1), ("outcome=success source=cache", 2)];
    let expected: Series = expected.map(|(series, value)| (series.to_owned(), value)).into();
    assert_eq!(collected.series(names::ACQUISITIONS), expected);
    let timed: Series = expected.into_iter().filter(|(series, _)| !series.contains("source=cache")).collect();
    assert_eq!(collected.series(names::ACQUISITION_DURATION), timed);
    assert_eq!(collected.series(names::LEG1_DURATION), [(exchange.to_owned(), 2)].into());
    let in_cache: Series = [(exchange.to_owned(), 2), (of_machine.to_owned(), 1)].into();
    assert_eq!(collected.series(names::CACHE_DURATION), in_cache);

    let requests = collected.series(names::REQUEST_DURATION);
    let leg = |leg: &str, rest: &str| format!("{rest}leg={leg} region=westus3 target=token_service");
    let ok = |series: String| format!("http.response.status_code=200 {series}");
    assert_eq!(requests.get(&ok(leg("1", ""))), Some(&3), "{requests:?}");
    assert_eq!(requests.get(&ok(leg("2", ""))), Some(&2), "{requests:?}");
    let refusal = leg("2", "error.type=400 http.response.status_code=400 ");
    assert_eq!(requests.get(&refusal), Some(&1), "{requests:?}");
    assert_eq!(requests.get("http.response.status_code=200 target=platform"), Some(&1), "{requests:?}");

    let caches = "cache.name=tokens".to_owned();
    for (metric, value) in [
        (names::CACHE_TOKENS, 1),
        (names::CACHE_HITS, 2),
        (names::CACHE_MISSES, 3),
        (names::CACHE_STORED, 2),
        (names::CACHE_EVICTIONS, 1),
        (names::CACHE_MEMORY, cache.bytes() as i64),
    ] {
        assert_eq!(collected.series(metric), [(caches.clone(), value)].into(), "{}", metric.name);
    }

    let expiry = collected.series(names::CERTIFICATE_EXPIRY);
    let now = SystemClock::new().now().as_secs() as i64;
    let left = pair.certificate().chain().not_after().as_secs() as i64 - now;
    let found = expiry[&format!("client_id={}", builtin::APP)];
    assert!((left - 5..=left + 5).contains(&found), "{found} instead of {left}");

    // The metrics do not keep a cache, but its hits remain in the sum, which never decreases.
    drop((leg2, cache));
    assert_eq!(collected.series(names::CACHE_TOKENS), Series::new());
    assert_eq!(collected.series(names::ACQUISITIONS)["outcome=success source=cache"], 2);
}

#[tokio::test]
async fn retries_and_throttled_requests_are_counted() {
    let (collected, pair) = (Collected::begin(), Pair::new());
    let busy = r#"{"error":"temporarily_unavailable"}"#;
    let script = ScriptedTransport::default().then(503, busy).then_with(429, busy, ("retry-after", "30"));
    let client = pair.builder(builtin::SECRET_APP).with_transport(script).with_observer(collected.observer());
    let client = client.with_secret(Secret::new(builtin::SECRET)).build().unwrap();
    for _ in 0..3 {
        client.bearer_token(&vault()).await.unwrap_err();
    }
    let target = "region=westus3 target=token_service";
    let status = |status: u16| format!("error.type={status} http.response.status_code={status} {target}");
    assert_eq!(collected.series(names::REQUEST_DURATION), [(status(503), 1), (status(429), 1)].into());
    assert_eq!(collected.series(names::REQUESTS_THROTTLED), [(target.to_owned(), 2)].into());
    let failures = collected.series(names::ACQUISITIONS);
    let failed = "api=client_credentials error.type=temporarily_unavailable outcome=failure \
                  refresh_reason=no_cached_token region=westus3 token_type=bearer";
    assert_eq!(failures.get(failed), Some(&3), "{failures:?}");
}

/// A server that invents a new code for each refusal does not create a new series each time.
#[tokio::test]
async fn the_number_of_series_is_limited() {
    let (collected, pair) = (Collected::begin(), Pair::new());
    let script = (0..150).fold(ScriptedTransport::default(), |script, n| {
        script.then(400, format!(r#"{{"error":"code_{n}","error_description":"-"}}"#))
    });
    let client = pair.builder(builtin::SECRET_APP).with_transport(script).with_observer(collected.observer());
    let client = client.with_secret(Secret::new(builtin::SECRET)).with_retry_policy(RetryPolicy::none());
    let client = client.build().unwrap();
    for _ in 0..150 {
        client.bearer_token(&vault()).await.unwrap_err();
    }
    let series = collected.series(names::ACQUISITIONS);
    assert_eq!(series.len(), 102, "100 codes, the others together, and the hits: {series:?}");
    let other = series.iter().find(|(name, _)| name.contains("error.type=_OTHER")).unwrap();
    assert_eq!(other.1, &50);
}

/// The numbers of refusals are limited too, in the counter and in the histograms.
#[tokio::test]
async fn the_number_of_series_with_numbers_is_limited() {
    let (collected, pair) = (Collected::begin(), Pair::new());
    let script = (0..1_100).fold(ScriptedTransport::default(), |script, n| {
        let number = 700_000 + n;
        script.then(400, format!(r#"{{"error":"e","error_description":"-","error_codes":[{number}]}}"#))
    });
    let client = pair.builder(builtin::SECRET_APP).with_transport(script).with_observer(collected.observer());
    let client = client.with_secret(Secret::new(builtin::SECRET)).build().unwrap();
    for _ in 0..1_100 {
        client.bearer_token(&vault()).await.unwrap_err();
    }
    // 1 000 numbers and the others together; the counter has the hits in addition.
    assert_eq!(collected.series(names::ACQUISITION_DURATION).len(), 1_001);
    let counts = collected.series(names::ACQUISITIONS);
    assert_eq!((counts.len(), counts["otel.metric.overflow=true"]), (1_002, 100));
}

/// A client reports the expiry of its certificate even if it requests only Bearer tokens or gets only errors.
#[tokio::test]
async fn a_client_with_bearer_tokens_or_errors_only_reports_its_certificate_too() {
    let (collected, pair) = (Collected::begin(), Pair::new());
    let client = pair.builder(builtin::APP).with_certificate(pair.certificate());
    let client = client.with_observer(collected.observer()).build().unwrap();
    client.bearer_token(&vault()).await.unwrap();
    let untrusted = pair.builder(builtin::TARGET_APP).with_certificate(pair.other_certificate());
    let untrusted = untrusted.with_transport(ScriptedTransport::default().then(400, "{}"));
    let untrusted = untrusted.with_observer(collected.observer()).build().unwrap();
    untrusted.bound_token(&vault()).await.unwrap_err();
    let series = collected.series(names::CERTIFICATE_EXPIRY);
    let clients: Vec<&str> = series.keys().map(String::as_str).collect();
    let expected = [builtin::APP, builtin::TARGET_APP].map(|id| format!("client_id={id}"));
    assert_eq!(clients, expected);
}

/// The certificate of a machine is issued by the platform, and its name is that of the identity.
#[tokio::test]
async fn a_managed_identity_with_a_bound_token_reports_its_certificate() {
    let (collected, pair) = (Collected::begin(), Pair::new());
    let machine = pair.managed_identity(IdentityId::System).with_observer(collected.observer());
    let machine = machine.build().unwrap();
    machine.bearer_token(&vault()).await.unwrap();
    assert_eq!(collected.series(names::CERTIFICATE_EXPIRY), Series::new(), "no certificate is used");
    let token = machine.bound_token(&vault()).await.unwrap();
    let expires_at = token.binding().chain().not_after().as_secs() as i64;
    let left = expires_at - SystemClock::new().now().as_secs() as i64;
    let series = collected.series(names::CERTIFICATE_EXPIRY);
    let [(client, found)] = &series.iter().collect::<Vec<_>>()[..] else { panic!("{series:?}") };
    assert_eq!(client.as_str(), "client_id=system");
    assert!((left - 5..=left + 5).contains(*found), "{found} instead of {left}");
}

#[tokio::test]
async fn a_call_that_is_dropped_is_a_cancelled_acquisition() {
    let (collected, pair) = (Collected::begin(), Pair::new());
    let transport = certbound_testkit::GatedTransport::new(pair.transport());
    transport.close("login");
    let client =
        pair.builder(builtin::SECRET_APP).with_transport(transport).with_observer(collected.observer());
    let client = client.with_secret(Secret::new(builtin::SECRET)).build().unwrap();
    let vault = vault();
    let mut call = Box::pin(std::future::IntoFuture::into_future(client.bearer_token(&vault)));
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    let cancelled =
        "api=client_credentials outcome=cancelled refresh_reason=no_cached_token token_type=bearer";
    assert_eq!(collected.series(names::ACQUISITIONS)[cancelled], 1);
}

#[tokio::test]
async fn without_a_collection_nothing_is_lost_and_joined_calls_are_acquisitions_too() {
    let (collected, pair) = (Collected::begin(), Pair::new());
    let leg2 = pair.builder(builtin::APP).with_assertions(pair.leg1()).with_observer(collected.observer());
    let leg2 = leg2.build().unwrap();
    let vault = vault();
    let calls = (0..3).map(|_| std::future::IntoFuture::into_future(leg2.bound_token(&vault)));
    for token in futures_util::future::join_all(calls).await {
        token.unwrap();
    }
    let series = |source: &str| {
        format!(
            "api=client_credentials leg=2 outcome=success refresh_reason=no_cached_token region=westus3 \
             source={source} token_type=mtls_pop"
        )
    };
    let acquisitions = collected.series(names::ACQUISITIONS);
    assert_eq!(acquisitions[&series("token_service")], 1);
    assert_eq!(acquisitions[&series("joined")], 2);
    assert_eq!(collected.series(names::LEG1_DURATION), [(series("token_service"), 1)].into());
    pair.clock().advance(Duration::from_secs(1));
}

/// The document and the code have the same metrics, with the same kinds and units.
#[tokio::test]
async fn the_document_lists_every_metric() {
    let page = include_str!("../../../docs/observability.md");
    let (_, table) = page.split_once("## Metrics of the client").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `certbound."));
    let cells = |row: &str| -> [String; 4] {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        [(); 4].map(|()| cells.next().unwrap())
    };
    let mut attributes: BTreeMap<String, String> = BTreeMap::new();
    let mut above = String::new();
    let documented: BTreeMap<String, (String, String)> = rows
        .map(|row| {
            let [name, kind, unit, named] = cells(row);
            let name = format!("certbound.{name}");
            if named != "as above" {
                above = named.replace("certbound.", "");
            }
            attributes.insert(name.clone(), format!("{above}`"));
            (name, (kind, unit))
        })
        .collect();
    let known: BTreeMap<_, _> = names::CLIENT.map(|metric| (metric.name, metric.unit)).into();
    let units: BTreeMap<&str, &str> =
        documented.iter().map(|(name, (_, unit))| (name.as_str(), unit.as_str())).collect();
    assert_eq!(units, known);

    // This part exports every metric, also those that the tests above do not need, with the kinds of the document.
    let (collected, pair) = (Collected::begin(), Pair::new());
    let cache = TokenCache::new();
    collected.metrics.watch_cache("tokens", &cache);
    let busy = ScriptedTransport::default().then_with(429, "{}", ("retry-after", "30"));
    let throttled =
        pair.builder(builtin::SECRET_APP).with_transport(busy).with_observer(collected.observer());
    let throttled = throttled.with_secret(Secret::new(builtin::SECRET)).build().unwrap();
    for _ in 0..2 {
        throttled.bearer_token(&vault()).await.unwrap_err();
    }
    let leg2 = pair.builder(builtin::APP).with_assertions(pair.leg1()).with_cache(cache.clone());
    let leg2 = leg2.with_observer(collected.observer()).build().unwrap();
    leg2.bound_token(&vault()).await.unwrap();
    let all = collected.all();
    for (name, (_, _, series)) in &all {
        for key in series.keys().flat_map(|series| series.split(' ')).filter_map(|it| it.split_once('=')) {
            let named = &attributes[name];
            assert!(
                named.contains(&format!("{}`", key.0)),
                "the attribute {} of {name} is not in {named}",
                key.0
            );
        }
    }
    let exported: BTreeMap<String, (String, String)> =
        all.into_iter().map(|(name, (unit, kind, _))| (name, (kind.to_owned(), unit))).collect();
    assert_eq!(exported, documented);
}

/// The instruments and the tags of MSAL.NET's meter.
const OF_MSAL: [&str; 23] = [
    "MsalSuccess",
    "MsalFailure",
    "MsalTotalDuration.1A",
    "MsalTotalDurationV2.1A",
    "MsalDurationInL1CacheInUs.1B",
    "MsalDurationInL2Cache.1A",
    "MsalDurationInHttp.1A",
    "MsalDurationInHttpV2.1A",
    "MsalDurationInExtensionInMs.1B",
    "MsalRemainingTokenLifetime.1A",
    "ApiId",
    "CacheRefreshReason",
    "TokenSource",
    "CacheLevel",
    "TokenType",
    "ErrorCode",
    "RawStsErrorCode",
    "HttpStatusCode",
    "Succeeded",
    "MsalVersion",
    "Platform",
    "MsalVersionPlatform",
    "CallerSdkId",
];

/// The document maps each name of MSAL.NET, and only to names that exist.
#[test]
fn the_document_maps_the_names_of_msal() {
    use names::attribute as of;

    let page = include_str!("../../../docs/observability.md");
    let (_, section) = page.split_once("### MSAL.NET's names").unwrap();
    let rows: Vec<_> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | ")).collect();
    let mapped: Vec<&str> =
        rows.iter().flat_map(|(theirs, _)| theirs.split(", ")).map(|name| name.trim_matches('`')).collect();
    assert_eq!(mapped, OF_MSAL);
    let attributes = [
        of::API,
        of::REFRESH_REASON,
        of::SOURCE,
        of::TOKEN_TYPE,
        of::ERROR_TYPE,
        of::AADSTS,
        of::STATUS,
        of::OUTCOME,
    ];
    let metrics = names::CLIENT.map(|metric| metric.name);
    for (theirs, ours) in rows {
        match ours.strip_prefix('`').and_then(|ours| ours.split_once('`')) {
            Some((name, _)) => {
                assert!(attributes.contains(&name) || metrics.contains(&name), "{theirs}: {name}");
            }
            None => assert!(ours.starts_with("none: "), "{theirs}: {ours}"),
        }
    }
}
