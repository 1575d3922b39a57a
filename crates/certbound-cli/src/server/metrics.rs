//! The metrics of a server, in Prometheus' text format.

mod names;

use certbound_emulator::{Emulator, ObservedRequest};
use certbound_otel::names::{Metric, attribute};
use certbound_verifier::{Clock as _, Load, PeerCertificate, SystemClock};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

/// The metrics of one server. They exist even without an admin listener, although nobody can read them then.
pub(crate) struct Metrics {
    registry: Registry,
    // The instruments report only as long as their provider exists.
    _provider: SdkMeterProvider,
    meter: Meter,
    reloads: Counter<u64>,
}

impl Metrics {
    /// Creates the metrics that every server has.
    pub(crate) fn new(load: Load) -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter();
        let exporter =
            exporter.with_registry(registry.clone()).scope_info_enabled(false).without_target_info();
        let mut provider = SdkMeterProvider::builder();
        match exporter.build() {
            Ok(reader) => provider = provider.with_reader(reader),
            // A new registry accepts the exporter, so this is a bug of a dependency. The server works without metrics.
            Err(error) => tracing::error!(%error, "metrics are not available"),
        }
        let provider = provider.build();
        let meter = provider.meter("certbound");
        let reloads = counter(&meter, names::RELOADS);
        let version = [KeyValue::new(names::VERSION, env!("CARGO_PKG_VERSION"))];
        gauge(&meter, names::BUILD_INFO, move || vec![(1, version.to_vec())]);
        let started = SystemClock.now().as_secs();
        gauge(&meter, names::START_TIME, move || vec![(started, Vec::new())]);
        let of_requests = load.clone();
        gauge(&meter, names::CONNECTIONS, move || vec![(load.connections() as u64, Vec::new())]);
        gauge(&meter, names::REQUESTS, move || vec![(of_requests.requests() as u64, Vec::new())]);
        Self { registry, _provider: provider, meter, reloads }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Counts a reload of the configuration.
    pub(crate) fn reloaded(&self, succeeded: bool) {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        self.reloads.add(1, &[KeyValue::new(attribute::OUTCOME, outcome)]);
    }

    /// Reports the time until a certificate expires. `name` states its use.
    pub(crate) fn watch_certificate(&self, name: &'static str, der: &[u8]) {
        let Ok(certificate) = PeerCertificate::from_der(der) else { return };
        let Some((_, end)) = certificate.validity() else { return };
        let attributes = [KeyValue::new(names::CERTIFICATE, name)];
        gauge(&self.meter, names::CERTIFICATE_EXPIRY, move || {
            vec![(end.since(SystemClock.now()).as_secs(), attributes.to_vec())]
        });
    }

    /// Counts the requests to an emulator, and the faults that it applied.
    pub(crate) fn watch_emulator(&self, emulator: &Emulator) {
        let requests = counter(&self.meter, names::EMULATOR_REQUESTS);
        let faults = counter(&self.meter, names::EMULATOR_FAULTS);
        emulator.observe_requests(move |request: &ObservedRequest| {
            requests.add(
                1,
                &[
                    KeyValue::new(names::ENDPOINT, request.endpoint),
                    KeyValue::new(names::STATUS, i64::from(request.status)),
                ],
            );
            if let Some(fault) = request.fault {
                faults.add(1, &[KeyValue::new(names::FAULT, fault)]);
            }
        });
    }

    /// Returns all metrics as text.
    pub(crate) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics could not be written");
            String::new()
        })
    }
}

fn counter(meter: &Meter, metric: Metric) -> Counter<u64> {
    meter.u64_counter(metric.name).with_unit(metric.unit).with_description(metric.description).build()
}

/// Registers a gauge. `read` returns its values when the metrics are collected.
fn gauge(
    meter: &Meter,
    metric: Metric,
    read: impl Fn() -> Vec<(u64, Vec<KeyValue>)> + Send + Sync + 'static,
) {
    meter
        .u64_observable_gauge(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.description)
        .with_callback(move |observer| {
            for (value, attributes) in read() {
                observer.observe(value, &attributes);
            }
        })
        .build();
}
