//! The metrics of the verifier.

use certbound_verifier::{Decision, KeyFetch, KeyState, KeyStatus, Observer};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use crate::names::{self, Metric, attribute};

/// The bounds of the durations, in seconds. A decision with known keys takes less than a millisecond.
const BOUNDS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// The metrics of verifiers. A value of this type is the [`Observer`] of each verifier that it measures.
///
/// ```
/// use std::sync::Arc;
///
/// use certbound_otel::VerifierMetrics;
/// use certbound_verifier::{Cloud, Issuer, TenantId, Verifier};
///
/// let metrics = Arc::new(VerifierMetrics::new(&opentelemetry::global::meter("certbound")));
/// let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
/// let verifier = Verifier::builder()
///     .issuer(Issuer::entra(Cloud::Public, [tenant])?)
///     .audience("api://orders")
///     .any_role(["Orders.Read"])
///     .observe(metrics.clone())
///     .build()?;
/// metrics.watch_keys(move || verifier.key_status());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct VerifierMetrics {
    meter: Meter,
    decisions: Counter<u64>,
    decision_duration: Histogram<f64>,
    fetches: Counter<u64>,
    fetch_duration: Histogram<f64>,
}

impl VerifierMetrics {
    /// Registers the instruments at `meter`.
    pub fn new(meter: &Meter) -> Self {
        Self {
            decisions: counter(meter, names::VERIFIER_DECISIONS),
            decision_duration: seconds(meter, names::VERIFIER_DECISION_DURATION),
            fetches: counter(meter, names::VERIFIER_KEY_FETCHES),
            fetch_duration: seconds(meter, names::VERIFIER_KEY_FETCH_DURATION),
            meter: meter.clone(),
        }
    }

    /// Reports the state of keys. `status` returns this state when the metrics are collected. Call this method once.
    pub fn watch_keys(&self, status: impl Fn() -> Vec<KeyStatus> + Clone + Send + Sync + 'static) {
        let (usable, time) = (names::VERIFIER_KEYS_USABLE, names::VERIFIER_KEYS_FETCH_TIME);
        let of_usable = status.clone();
        self.meter
            .u64_observable_gauge(usable.name)
            .with_unit(usable.unit)
            .with_description(usable.description)
            .with_callback(move |observer| {
                for keys in of_usable() {
                    let issuer = KeyValue::new(attribute::ISSUER, keys.issuer);
                    observer.observe(keys.state.is_usable().into(), &[issuer]);
                }
            })
            .build();
        self.meter
            .u64_observable_gauge(time.name)
            .with_unit(time.unit)
            .with_description(time.description)
            .with_callback(move |observer| {
                for keys in status() {
                    if let KeyState::Fetched { at, .. } = keys.state {
                        observer.observe(at.as_secs(), &[KeyValue::new(attribute::ISSUER, keys.issuer)]);
                    }
                }
            })
            .build();
    }
}

impl Observer for VerifierMetrics {
    fn decided(&self, decision: &Decision<'_>) {
        let outcome = if decision.refusal.is_none() { "accepted" } else { "refused" };
        let outcome = KeyValue::new(attribute::OUTCOME, outcome);
        self.decision_duration.record(decision.duration.as_secs_f64(), std::slice::from_ref(&outcome));
        match decision.refusal {
            None => self.decisions.add(1, &[outcome]),
            Some(refusal) => {
                self.decisions.add(1, &[outcome, KeyValue::new(attribute::REFUSAL_CODE, refusal.code())]);
            }
        }
    }

    fn fetched(&self, fetch: &KeyFetch<'_>) {
        let attributes = [
            KeyValue::new(attribute::ISSUER, fetch.issuer.to_owned()),
            KeyValue::new(attribute::OUTCOME, fetch.outcome.id()),
        ];
        self.fetches.add(1, &attributes);
        self.fetch_duration.record(fetch.duration.as_secs_f64(), &attributes);
    }
}

fn counter(meter: &Meter, metric: Metric) -> Counter<u64> {
    meter.u64_counter(metric.name).with_unit(metric.unit).with_description(metric.description).build()
}

fn seconds(meter: &Meter, metric: Metric) -> Histogram<f64> {
    let histogram = meter.f64_histogram(metric.name).with_unit(metric.unit);
    histogram.with_description(metric.description).with_boundaries(BOUNDS.to_vec()).build()
}
