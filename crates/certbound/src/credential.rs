//! What a client authenticates with, as a type: it decides which tokens can be asked for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use crate::assertion::BoundAssertion;
use crate::binding::Binding;
use crate::error::{Error, Leg};
use crate::leg1::{AnyLeg1, AssertionRequest};
use crate::signed_assertion;
use crate::token::Kind;

/// No credential yet: credential setters exist only here, so a client cannot have two.
#[derive(Clone, Copy, Debug)]
pub struct NoCredential {
    pub(crate) _private: (),
}

/// The client proves itself by its certificate: in TLS for a bound token, by a signed assertion for a Bearer token.
#[derive(Clone, Debug)]
pub struct ByCertificate {
    pub(crate) binding: Binding,
}

/// The client proves itself by assertions from a Leg 1, presented as `jwt-pop` over TLS with their certificate.
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

/// A credential a client can be built with.
#[diagnostic::on_unimplemented(
    message = "a client cannot be built without a credential",
    note = "call `with_certificate`, or `with_assertions` with a Leg 1, before `build`"
)]
pub trait Credential: sealed::Proves + Clone + Send + Sync + 'static {}

/// A credential that has a certificate to bind a token to.
#[diagnostic::on_unimplemented(
    message = "a client that authenticates by `{Self}` has no certificate to bind a token to",
    note = "use `with_certificate`, or `with_assertions` with a Leg 1"
)]
pub trait Binds: Credential {}

impl Credential for ByCertificate {}
impl Credential for ByAssertion {}
impl Binds for ByCertificate {}
impl Binds for ByAssertion {}

pub(crate) use sealed::{Proof, Proves};

mod sealed {
    use super::*;

    /// What proves the client in one request, owned until the request is encoded.
    pub enum Proof {
        CertificateOnly,
        Bound(BoundAssertion),
        Signed(Secret),
    }

    pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

    /// How the walk in `acquire` uses a credential.
    pub trait Proves: Send + Sync {
        /// The certificate, when it can be told without waiting.
        fn binding_now(&self) -> Option<Binding>;
        /// The certificate of this acquisition.
        fn binding(&self) -> Boxed<'_, Binding>;
        /// Whether a request for this kind of token goes over TLS with the certificate.
        fn presents(&self, kind: Kind) -> bool;
        /// The proof for one request; in Leg 2 this runs Leg 1.
        fn proof<'a>(
            &'a self,
            binding: &'a Binding,
            kind: Kind,
            request: &'a AssertionRequest,
            now: UnixTime,
        ) -> Boxed<'a, Proof>;
        /// The service refused a request with this credential's proof.
        fn refused(&self) {}
        /// The leg that a request with this credential is; none in the direct flow.
        fn leg(&self) -> Option<Leg>;
        /// Distinguishes credentials in cache keys.
        fn name(&self) -> &'static str;
    }
}

impl Proves for ByCertificate {
    fn binding_now(&self) -> Option<Binding> {
        Some(self.binding.clone())
    }

    fn binding(&self) -> sealed::Boxed<'_, Binding> {
        Box::pin(async { Ok(self.binding.clone()) })
    }

    fn presents(&self, kind: Kind) -> bool {
        kind == Kind::Bound
    }

    fn proof<'a>(
        &'a self,
        binding: &'a Binding,
        kind: Kind,
        request: &'a AssertionRequest,
        now: UnixTime,
    ) -> sealed::Boxed<'a, Proof> {
        Box::pin(async move {
            match kind {
                Kind::Bound => Ok(Proof::CertificateOnly),
                Kind::Bearer => {
                    let signed = signed_assertion::sign(binding.certificate(), request, now);
                    signed.map(Proof::Signed).map_err(|error| Error::misuse(None, error))
                }
            }
        })
    }

    fn leg(&self) -> Option<Leg> {
        None
    }

    fn name(&self) -> &'static str {
        "certificate"
    }
}

/// With less than this left, an assertion is not used again.
const REUSE_MARGIN: Duration = Duration::from_secs(5 * 60);

impl Proves for ByAssertion {
    fn binding_now(&self) -> Option<Binding> {
        self.leg1.current_binding()
    }

    fn binding(&self) -> sealed::Boxed<'_, Binding> {
        self.leg1.binding()
    }

    fn presents(&self, _kind: Kind) -> bool {
        true
    }

    fn proof<'a>(
        &'a self,
        binding: &'a Binding,
        _kind: Kind,
        request: &'a AssertionRequest,
        now: UnixTime,
    ) -> sealed::Boxed<'a, Proof> {
        Box::pin(async move {
            // A challenge is for Leg 1 as well, which an earlier assertion knows nothing of.
            if let Some(assertion) = self.kept(binding, now).filter(|_| request.claims.is_none()) {
                return Ok(Proof::Bound(assertion));
            }
            let assertion = self.leg1.assertion_for(binding, request).await?;
            if let Some(kept) = &self.reused {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(assertion.again());
            }
            Ok(Proof::Bound(assertion))
        })
    }

    /// Whatever the reason, the assertion is not offered again.
    fn refused(&self) {
        if let Some(kept) = &self.reused {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn leg(&self) -> Option<Leg> {
        Some(Leg::Two)
    }

    fn name(&self) -> &'static str {
        "assertion"
    }
}

impl ByAssertion {
    /// An earlier assertion, where reuse was opted into and enough is left of it.
    fn kept(&self, binding: &Binding, now: UnixTime) -> Option<BoundAssertion> {
        let kept = self.reused.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let assertion = kept.as_ref()?;
        (assertion.binding() == binding && assertion.expires_at() > now.plus(REUSE_MARGIN))
            .then(|| assertion.again())
    }
}
