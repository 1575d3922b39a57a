//! The assertions that Leg 1 returns. The library's observers see the requests of both legs, but not the assertion that
//! passes from Leg 1 to Leg 2.

use std::sync::Arc;

use certbound::certificate::Blame;
use certbound::credential::{AssertionRequest, Leg1, UnboundAssertions};
use certbound::{BindingCertificate, BoundAssertion, Error, Secret, Thumbprint, UnixTime};

/// Sees each call of Leg 1 and the returned assertion.
pub(crate) trait AssertionWitness: Send + Sync + 'static {
    /// Leg 1 is called for an exchange.
    fn asked(&self, request: &AssertionRequest);

    /// Leg 1 has returned an assertion. An unbound assertion has no known expiry.
    fn given(&self, assertion: &Secret, expires_at: Option<UnixTime>);
}

/// A Leg 1 whose assertions the witness sees.
pub(crate) struct WatchedLeg1<L> {
    inner: L,
    witness: Option<Arc<dyn AssertionWitness>>,
}

impl<L> WatchedLeg1<L> {
    pub(crate) fn new(inner: L, witness: Option<Arc<dyn AssertionWitness>>) -> Self {
        Self { inner, witness }
    }

    fn tell(&self, tell: impl FnOnce(&dyn AssertionWitness)) {
        if let Some(witness) = &self.witness {
            tell(&**witness);
        }
    }
}

impl<L: Leg1> Leg1 for WatchedLeg1<L> {
    fn current_binding(&self) -> Option<BindingCertificate> {
        self.inner.current_binding()
    }

    fn current_thumbprint(&self) -> Option<Thumbprint> {
        self.inner.current_thumbprint()
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.inner.earlier_thumbprints()
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.inner.reopened(known)
    }

    async fn replace(&self, blamed: &BindingCertificate, blame: Blame) -> Result<bool, Error> {
        self.inner.replace(blamed, blame).await
    }

    fn identity(&self) -> Option<String> {
        Leg1::identity(&self.inner)
    }

    async fn binding(&self) -> Result<BindingCertificate, Error> {
        self.inner.binding().await
    }

    async fn assertion_for(
        &self,
        binding: &BindingCertificate,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        self.tell(|witness| witness.asked(request));
        let assertion = self.inner.assertion_for(binding, request).await?;
        self.tell(|witness| witness.given(assertion.secret(), Some(assertion.expires_at())));
        Ok(assertion)
    }
}

impl<L: UnboundAssertions> UnboundAssertions for WatchedLeg1<L> {
    async fn assertion(&self, request: &AssertionRequest) -> Result<Arc<Secret>, Error> {
        self.tell(|witness| witness.asked(request));
        let assertion = self.inner.assertion(request).await?;
        self.tell(|witness| witness.given(&assertion, None));
        Ok(assertion)
    }

    fn identity(&self) -> Option<String> {
        UnboundAssertions::identity(&self.inner)
    }
}
