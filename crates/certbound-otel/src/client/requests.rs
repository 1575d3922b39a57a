//! The HTTP requests, and the throttled requests.

use std::sync::Arc;

use certbound::Region;
use certbound::error::Leg;
use certbound::observe::{CompletedRequest, RequestTo, ThrottledRequest};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use crate::bounded::Bounded;
use crate::names::{self, attribute};

pub(super) struct Requests {
    regions: Arc<Bounded>,
    errors: Bounded,
    durations: Histogram<f64>,
    throttled: Counter<u64>,
}

impl Requests {
    pub(super) fn register(meter: &Meter, regions: &Arc<Bounded>) -> Self {
        Self {
            regions: Arc::clone(regions),
            errors: Bounded::default(),
            durations: names::REQUEST_DURATION.seconds(meter),
            throttled: names::REQUESTS_THROTTLED.sum(meter),
        }
    }

    pub(super) fn record(&self, request: &CompletedRequest<'_>) {
        let mut attributes = self.attributes(request.to, request.leg, request.region);
        match request.result {
            Ok(status) => {
                attributes.push(KeyValue::new(attribute::STATUS, i64::from(status)));
                if status >= 400 {
                    attributes.push(KeyValue::new(attribute::ERROR_TYPE, status.to_string()));
                }
            }
            Err(code) => attributes.push(KeyValue::new(attribute::ERROR_TYPE, self.errors.value(code))),
        }
        self.durations.record(request.took.as_secs_f64(), &attributes);
    }

    pub(super) fn throttled(&self, request: &ThrottledRequest<'_>) {
        self.throttled.add(1, &self.attributes(request.to, request.leg, request.region));
    }

    fn attributes(&self, to: RequestTo, leg: Option<Leg>, region: Option<&Region>) -> Vec<KeyValue> {
        let mut attributes = vec![KeyValue::new(attribute::TARGET, to.as_str())];
        attributes.extend(leg.map(|leg| KeyValue::new(attribute::LEG, leg.as_str())));
        let region = region.map(|region| self.regions.value(region.as_str()));
        attributes.extend(region.map(|region| KeyValue::new(attribute::REGION, region)));
        attributes
    }
}
