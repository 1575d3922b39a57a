//! A Leg 1 that records the calls of Leg 2.

use std::sync::{Arc, Mutex, PoisonError};

use certbound::certificate::Binding;
use certbound::credential::{AssertionRequest, Leg1};
use certbound::{BoundAssertion, Error};

use super::evidence::{AssertionSeen, Provided};
use super::run::said;

/// Passes each call on and records its result.
pub(super) struct Watched<L> {
    inner: L,
    seen: Arc<Mutex<Vec<Provided>>>,
}

/// The recorded calls. They stay readable after the watched Leg 1 was moved into its client.
#[derive(Clone)]
pub(super) struct Watch(Arc<Mutex<Vec<Provided>>>);

impl Watch {
    pub(super) fn provided(&self) -> Vec<Provided> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<L: Leg1> Watched<L> {
    pub(super) fn new(inner: L) -> (Self, Watch) {
        let seen = Arc::default();
        (Self { inner, seen: Arc::clone(&seen) }, Watch(seen))
    }
}

impl<L: Leg1> Leg1 for Watched<L> {
    fn current_binding(&self) -> Option<Binding> {
        self.inner.current_binding()
    }

    async fn binding(&self) -> Result<Binding, Error> {
        self.inner.binding().await
    }

    async fn assertion_for(
        &self,
        binding: &Binding,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        let result = self.inner.assertion_for(binding, request).await;
        let outcome = result.as_ref().map(AssertionSeen::of).map_err(said);
        let provided = Provided { token_endpoint: request.token_endpoint.clone(), outcome };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(provided);
        result
    }
}
