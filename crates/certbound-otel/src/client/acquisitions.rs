//! The acquisitions: their number, and the durations of their parts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use certbound::error::Leg;
use certbound::observe::{AcquisitionResult, CompletedAcquisition, TokenOrigin};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::caches::Caches;
use crate::bounded::Bounded;
use crate::names::{self, attribute};

/// The maximum number of different combinations of attributes. The metrics count all later combinations together.
const SERIES: usize = 1_000;

/// The counts of acquisitions that were not cache hits, and the durations.
pub(super) struct Acquisitions {
    counts: Arc<Mutex<HashMap<Series, u64>>>,
    regions: Arc<Bounded>,
    errors: Bounded,
    total: Histogram<f64>,
    leg1: Histogram<f64>,
    cache: Histogram<f64>,
}

/// The attributes of one count.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Series {
    outcome: &'static str,
    origin: Option<&'static str>,
    token_type: Option<&'static str>,
    leg: Option<&'static str>,
    api: Option<&'static str>,
    refresh_reason: Option<&'static str>,
    region: Option<Arc<str>>,
    error: Option<Arc<str>>,
    aadsts: Option<u32>,
    is_overflow: bool,
}

impl Series {
    fn attributes(&self) -> Vec<KeyValue> {
        if self.is_overflow {
            return vec![KeyValue::new("otel.metric.overflow", true)];
        }
        let text = |name, value: Option<&str>| Some(KeyValue::new(name, value?.to_owned()));
        let attributes = [
            text(attribute::OUTCOME, Some(self.outcome)),
            text(attribute::SOURCE, self.origin),
            text(attribute::TOKEN_TYPE, self.token_type),
            text(attribute::LEG, self.leg),
            text(attribute::API, self.api),
            text(attribute::REFRESH_REASON, self.refresh_reason),
            text(attribute::REGION, self.region.as_deref()),
            text(attribute::ERROR_TYPE, self.error.as_deref()),
            self.aadsts.map(|number| KeyValue::new(attribute::AADSTS, i64::from(number))),
        ];
        attributes.into_iter().flatten().collect()
    }
}

impl Acquisitions {
    /// Registers the instruments. The instruments count the cache hits of `caches` as acquisitions.
    pub(super) fn register(meter: &Meter, regions: &Arc<Bounded>, caches: &Arc<Caches>) -> Self {
        let counts = Arc::<Mutex<HashMap<Series, u64>>>::default();
        let (counted, caches) = (Arc::clone(&counts), Arc::clone(caches));
        let hits = Series { outcome: attribute::SUCCESS, origin: Some("cache"), ..Series::default() };
        names::ACQUISITIONS.counter(meter, move |observer| {
            for (series, count) in counted.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                observer.observe(*count, &series.attributes());
            }
            observer.observe(caches.hits(), &hits.attributes());
        });
        Self {
            counts,
            regions: Arc::clone(regions),
            errors: Bounded::default(),
            total: names::ACQUISITION_DURATION.seconds(meter),
            leg1: names::LEG1_DURATION.seconds(meter),
            cache: names::CACHE_DURATION.seconds(meter),
        }
    }

    pub(super) fn record(&self, acquisition: &CompletedAcquisition<'_>) {
        let (outcome, origin, error) = match acquisition.result {
            AcquisitionResult::Token(origin) => (attribute::SUCCESS, Some(origin), None),
            AcquisitionResult::Error(error) => (attribute::FAILURE, None, Some(error)),
            _ => (attribute::CANCELLED, None, None),
        };
        let series = self.count(Series {
            outcome,
            origin: origin.map(TokenOrigin::as_str),
            token_type: Some(acquisition.token_type),
            leg: acquisition.leg.map(Leg::as_str),
            api: Some(acquisition.api),
            refresh_reason: acquisition.refresh_reason,
            region: acquisition.region.map(|region| self.regions.value(region.as_str())),
            error: error.map(|error| self.errors.value(error.code())),
            aadsts: error.and_then(|error| error.aadsts()),
            is_overflow: false,
        });
        let attributes = series.attributes();
        self.total.record(acquisition.took.as_secs_f64(), &attributes);
        let Some(parts) = acquisition.parts else { return };
        self.cache.record(parts.cache.as_secs_f64(), &attributes);
        // An acquisition that joined the request of another acquisition did not run Leg 1 itself.
        if acquisition.leg == Some(Leg::Two) && origin == Some(TokenOrigin::TokenService) {
            self.leg1.record(parts.leg1.as_secs_f64(), &attributes);
        }
    }

    /// Counts an acquisition. Returns the series in which it is counted.
    fn count(&self, series: Series) -> Series {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = counts.len() < SERIES || counts.contains_key(&series);
        let series = if has_room { series } else { Series { is_overflow: true, ..Series::default() } };
        *counts.entry(series.clone()).or_default() += 1;
        series
    }
}
