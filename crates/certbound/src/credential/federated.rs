//! The credential by assertions of a Leg 1. Each assertion is bound to the certificate with which it is presented.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::sealed::{Boxed, Proof, Proves};
use crate::cache::Kind;
use crate::cache::key::CallerId;
use crate::certificate::{BindingCertificate, Blame};
use crate::credential::{AnyLeg1, AssertionRequest, BoundAssertion};
use crate::error::{Error, Leg, Misuse};
use crate::span;

/// A client that authenticates by assertions of a Leg 1. The client presents the assertions as `jwt-pop`, over TLS with
/// their certificate.
#[derive(Clone)]
pub struct ByAssertion {
    pub(crate) leg1: Arc<dyn AnyLeg1>,
    pub(crate) reused: Option<Arc<Mutex<Option<BoundAssertion>>>>,
}

impl fmt::Debug for ByAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByAssertion")
            .field("reuses_assertions", &self.reused.is_some())
            .finish_non_exhaustive()
    }
}

/// An assertion is reused only while more than this time is left of its lifetime.
const REUSE_MARGIN: Duration = Duration::from_secs(5 * 60);

impl Proves for ByAssertion {
    fn thumbprint_now(&self) -> Option<Option<Thumbprint>> {
        self.leg1.current_thumbprint().map(Some)
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.leg1.reopened(known)
    }

    fn certificate(&self) -> Boxed<'_, Option<BindingCertificate>> {
        Box::pin(async { self.leg1.binding().await.map(Some) })
    }

    fn presents(&self, _kind: Kind) -> bool {
        true
    }

    fn proof<'a>(
        &'a self,
        certificate: Option<&'a BindingCertificate>,
        _kind: Kind,
        request: &'a AssertionRequest,
        now: UnixTime,
    ) -> Boxed<'a, Proof> {
        Box::pin(async move {
            // `certificate` above always returns a certificate.
            let missing = || Error::misuse(Some(Leg::Two), Misuse::CertificateNotProvided);
            let binding = certificate.ok_or_else(missing)?;
            // An earlier assertion was requested without these claims and this path.
            let reusable = request.claims.is_none() && request.fmi_path.is_none();
            if let Some(assertion) = self.reusable(binding, now).filter(|_| reusable) {
                return Ok(Proof::Bound(assertion));
            }
            let assertion = span::in_leg1(self.leg1.assertion_for(binding, request)).await?;
            if reusable {
                self.set_reused(Some(assertion.again()));
            }
            Ok(Proof::Bound(assertion))
        })
    }

    fn earlier(&self) -> Vec<Thumbprint> {
        self.leg1.earlier_thumbprints()
    }

    fn replace<'a>(&'a self, blamed: &'a BindingCertificate, blame: Blame) -> Boxed<'a, bool> {
        self.leg1.replace(blamed, blame)
    }

    /// Drops the assertion after any refusal, so that it is not reused.
    fn refused(&self) {
        self.set_reused(None);
    }

    fn leg(&self) -> Option<Leg> {
        Some(Leg::Two)
    }

    fn name(&self) -> &'static str {
        "assertion"
    }

    fn caller_id(&self) -> Option<CallerId> {
        self.leg1.identity().map(CallerId::identity)
    }
}

impl ByAssertion {
    /// Returns the earlier assertion, if reuse is on, the assertion is bound to `binding`, and more than
    /// [`REUSE_MARGIN`] of its lifetime is left.
    fn reusable(&self, binding: &BindingCertificate, now: UnixTime) -> Option<BoundAssertion> {
        let reused = self.reused.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let assertion = reused.as_ref()?;
        (assertion.binding() == binding && assertion.expires_at() > now.plus(REUSE_MARGIN))
            .then(|| assertion.again())
    }

    /// Replaces the earlier assertion, if reuse is on.
    fn set_reused(&self, assertion: Option<BoundAssertion>) {
        if let Some(reused) = &self.reused {
            *reused.lock().unwrap_or_else(PoisonError::into_inner) = assertion;
        }
    }
}
