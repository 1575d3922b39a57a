//! The reports on requests while the requests run. The reports contain no secret.

mod assertions;
mod seen;
mod witness;

use std::sync::{Arc, Mutex, PoisonError};

use certbound::observe::{ObservedRequest, ObservedValue, Observer};

pub(crate) use self::assertions::{AssertionWitness, WatchedLeg1};
pub(crate) use self::seen::Seen;
pub(crate) use self::witness::{Witness, Witnessed};
use crate::output::tell;

/// An observer that passes each token request, and the status of its answer, to several observers.
#[derive(Default)]
pub(crate) struct Observers(Vec<Arc<dyn Observer>>);

impl Observers {
    #[must_use]
    pub(crate) fn and(mut self, observer: Arc<dyn Observer>) -> Self {
        self.0.push(observer);
        self
    }

    #[must_use]
    pub(crate) fn and_if(self, wanted: bool, observer: impl Observer) -> Self {
        if wanted { self.and(Arc::new(observer)) } else { self }
    }
}

impl Observer for Observers {
    fn before_request(&self, request: &ObservedRequest) {
        self.0.iter().for_each(|observer| observer.before_request(request));
    }

    fn after_answer(&self, request: &ObservedRequest, status: u16) {
        self.0.iter().for_each(|observer| observer.after_answer(request, status));
    }
}

/// Records the requests.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<Seen>>);

impl Recorder {
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Witness for Recorder {
    fn before(&self, request: &Seen) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    }
}

impl Observer for Recorder {
    fn before_request(&self, request: &ObservedRequest) {
        self.before(&Seen::of_token_request(request));
    }
}

/// Prints each request and the status of its answer.
pub(crate) struct Trace;

impl Trace {
    /// Returns the witness for requests to the platform, if `wanted`.
    pub(crate) fn of_platform(wanted: bool) -> Option<Arc<dyn Witness>> {
        wanted.then(|| Arc::new(Self) as _)
    }
}

impl Witness for Trace {
    fn before(&self, request: &Seen) {
        for line in request.lines() {
            tell(&format!("> {line}"));
        }
    }

    fn after(&self, request: &Seen, status: u16) {
        tell(&format!("< {}: status {status}", request.station));
    }
}

impl Observer for Trace {
    fn before_request(&self, request: &ObservedRequest) {
        self.before(&Seen::of_token_request(request));
    }

    fn after_answer(&self, request: &ObservedRequest, status: u16) {
        self.after(&Seen::of_token_request(request), status);
    }
}

/// Reports the assertion, before Leg 2 uses it.
pub(crate) struct Stations {
    /// Whether this command runs Leg 1. Otherwise a file contains the assertion.
    pub(crate) runs_leg1: bool,
}

impl Observer for Stations {
    fn before_request(&self, request: &ObservedRequest) {
        // Leg 1's request has no assertion: a certificate or the platform authenticates it.
        let Some(ObservedValue::Redacted(length)) = request.parameter("client_assertion") else { return };
        let leg1 = if self.runs_leg1 { "Leg 1 done" } else { "Leg 1 not run, the assertion exists" };
        tell(&match request.presents {
            Some(thumbprint) => {
                format!("{leg1}: token type mtls_pop, certificate {thumbprint}, assertion of {length} bytes")
            }
            None => format!("{leg1}: token type Bearer, assertion of {length} bytes"),
        });
        tell(&format!("Assertion provided for: {}", request.token_endpoint));
    }
}
