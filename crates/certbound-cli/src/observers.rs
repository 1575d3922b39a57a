//! What is told of requests while they run: nothing of it holds a secret.

use std::sync::{Arc, Mutex, PoisonError};

use certbound::{Leg, ObservedRequest, ObservedValue, Observer};

use crate::output::{leg_name, tell};

/// Several observers as one.
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

/// Keeps the requests.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<ObservedRequest>>);

impl Recorder {
    pub(crate) fn requests(&self) -> Vec<ObservedRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Recorder {
    fn before_request(&self, request: &ObservedRequest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    }
}

/// Tells each request and the status of its answer.
pub(crate) struct Trace;

impl Observer for Trace {
    fn before_request(&self, request: &ObservedRequest) {
        for line in describe(request) {
            tell(&format!("> {line}"));
        }
    }

    fn after_answer(&self, request: &ObservedRequest, status: u16) {
        tell(&format!("< {}: status {status}", leg_name(request.leg)));
    }
}

/// A request in lines: the request line with its leg, TLS, headers, body.
pub(crate) fn describe(request: &ObservedRequest) -> Vec<String> {
    let mut lines = vec![format!("POST {} ({})", request.url, leg_name(request.leg))];
    lines.push(match request.presents {
        Some(thumbprint) => format!("TLS presents the certificate {thumbprint}"),
        None => "TLS presents no certificate".to_owned(),
    });
    lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend(request.body.iter().map(|(name, value)| format!("{name}={value}")));
    lines
}

/// Tells that Leg 1 is done, as soon as Leg 2 is about to use its assertion.
pub(crate) struct Stations;

impl Observer for Stations {
    fn before_request(&self, request: &ObservedRequest) {
        if request.leg != Some(Leg::Two) {
            return;
        }
        let thumbprint =
            request.presents.map_or_else(|| "none".to_owned(), |thumbprint| thumbprint.to_string());
        if let Some(ObservedValue::Redacted(length)) = request.parameter("client_assertion") {
            tell(&format!(
                "Leg 1 done: token type mtls_pop, certificate {thumbprint}, assertion of {length} bytes"
            ));
        }
        tell(&format!("Assertion provided for: {}", request.token_endpoint));
    }
}
