//! The time until the certificates in use expire.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use certbound::UnixTime;
use certbound::clock::{Clock as _, SystemClock};
use certbound::observe::CompletedAcquisition;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::names::{self, attribute};

/// The maximum number of clients whose certificates are reported.
const CLIENTS: usize = 1_000;

/// The expiry of the certificate that each client used last, by the client's id. A rotation replaces the expiry.
#[derive(Clone, Default)]
pub(super) struct Certificates(Arc<Mutex<HashMap<Arc<str>, UnixTime>>>);

impl Certificates {
    pub(super) fn register(meter: &Meter) -> Self {
        let certificates = Self::default();
        let (expiries, clock) = (Arc::clone(&certificates.0), SystemClock::new());
        names::CERTIFICATE_EXPIRY.signed_gauge(meter, move |observer| {
            let now = seconds(clock.now());
            for (client, expiry) in expiries.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let attributes = [KeyValue::new(attribute::CLIENT_ID, Arc::clone(client))];
                observer.observe(seconds(*expiry).saturating_sub(now), &attributes);
            }
        });
        certificates
    }

    pub(super) fn record(&self, acquisition: &CompletedAcquisition<'_>) {
        let Some(expiry) = acquisition.certificate_expires_at else { return };
        let mut expiries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = expiries.get_mut(acquisition.client_id) {
            *known = expiry;
        } else if expiries.len() < CLIENTS {
            expiries.insert(acquisition.client_id.into(), expiry);
        }
    }
}

/// Returns a time as a signed number. A time after the year 292 billion becomes the largest number.
fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
