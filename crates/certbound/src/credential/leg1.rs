//! Leg 1: whatever can name a certificate and deliver an assertion bound to it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use certbound_core::authority::AuthorityKind;
use certbound_core::certificate::Thumbprint;
use certbound_core::jws;
use certbound_core::secret::Secret;
use certbound_core::tenant::TenantId;

use crate::certificate::{Binding, Blame, CertificateSource};
use crate::correlation::CorrelationId;
use crate::credential::BoundAssertion;
use crate::error::{AssertionError, Error, Leg, Misuse};
use crate::observe::Observer;

/// A source of assertions for Leg 2.
///
/// Implemented by a client with a certificate, by one [`BoundAssertion`] (for one exchange), by [`leg1_fn`], and by
/// types of your own. `binding()` is asked on every acquisition and must be cheap; `assertion_for()` runs only when a
/// token has to be fetched, and must deliver an assertion bound to exactly the certificate it is given: anything else
/// is refused as `binding_changed` after one restart.
pub trait Leg1: Send + Sync + 'static {
    /// The certificate in use, when it can be told without waiting; lets a cached token be found without a future.
    fn current_binding(&self) -> Option<Binding> {
        None
    }

    /// The thumbprint of the certificate in use, when it can be told without waiting. Every cache hit asks for it, so a Leg 1
    /// that can name it without a copy of the certificate should. Default: by [`Leg1::current_binding`].
    fn current_thumbprint(&self) -> Option<Thumbprint> {
        self.current_binding().map(|binding| binding.thumbprint())
    }

    /// Thumbprints of certificates before the present one, newest first. While the service is away, their live tokens are
    /// served. Default: none.
    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        Vec::new()
    }

    /// The token service refused the certificate `blamed`, or may have, as `blame` says: looks for another one, once for each,
    /// and tells whether there is one now, however many ask at the same time; the exchange then begins anew with it. One that
    /// is only suspected may be as good as ever. Default: there is none.
    fn replace(&self, blamed: &Binding, blame: Blame) -> impl Future<Output = bool> + Send {
        let _ = (blamed, blame);
        std::future::ready(false)
    }

    /// Whose assertions they are, where another Leg 1 may deliver another identity's with the same certificate: clients that
    /// share a cache share no token of different ones. Asked once, when a client is built. Default: nothing tells.
    fn identity(&self) -> Option<String> {
        None
    }

    /// The certificate in use.
    fn binding(&self) -> impl Future<Output = Result<Binding, Error>> + Send;

    /// A fresh assertion bound to `binding`.
    fn assertion_for(
        &self,
        binding: &Binding,
        request: &AssertionRequest,
    ) -> impl Future<Output = Result<BoundAssertion, Error>> + Send;
}

/// What Leg 2 tells Leg 1 about the exchange the assertion is for.
#[derive(Clone)]
#[non_exhaustive]
pub struct AssertionRequest {
    /// The application that will present the assertion.
    pub client_id: Arc<str>,
    /// The tenant of the exchange; authorities that are not Microsoft's have none.
    pub tenant: Option<TenantId>,
    /// The token endpoint that the exchange will really use.
    pub token_endpoint: String,
    /// The claims challenge to forward, if any.
    pub claims: Option<String>,
    /// The application's declared capabilities.
    pub capabilities: Vec<String>,
    /// The FMI path of the assertion, if any.
    pub fmi_path: Option<String>,
    /// The correlation id of the whole acquisition.
    pub correlation_id: CorrelationId,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) authority_kind: AuthorityKind,
    pub(crate) assertion_claims: Option<String>,
}

impl fmt::Debug for AssertionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionRequest")
            .field("client_id", &self.client_id)
            .field("tenant", &self.tenant)
            .field("token_endpoint", &self.token_endpoint)
            .field("correlation_id", &self.correlation_id)
            .finish_non_exhaustive()
    }
}

/// A Leg 1 from a certificate and a function that delivers the assertion's text.
///
/// The function is called once for each exchange and never on a cache hit. What it returns is checked like any
/// assertion from outside ([`BoundAssertion::from_jwt`]). One that is bound to the certificate that took the place of the
/// present one meanwhile is no error: the exchange begins anew, once, and the function is called again.
///
/// ```no_run
/// use certbound::{BindingCertificate, Secret, leg1_fn};
///
/// let certificate = BindingCertificate::from_pem_file("app.pem")?;
/// let leg1 = leg1_fn(certificate, |request| {
///     println!("assertion asked for {}", request.token_endpoint);
///     async { std::fs::read_to_string("assertion.jwt").map(Secret::new) }
/// });
/// # drop(leg1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn leg1_fn<F, Fut, E>(certificate: impl Into<CertificateSource>, provider: F) -> impl Leg1
where
    F: Fn(&AssertionRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Secret, E>> + Send + 'static,
    E: fmt::Display,
{
    Provided { certificate: certificate.into(), provider }
}

struct Provided<F> {
    certificate: CertificateSource,
    provider: F,
}

impl<F, Fut, E> Leg1 for Provided<F>
where
    F: Fn(&AssertionRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Secret, E>> + Send + 'static,
    E: fmt::Display,
{
    fn current_binding(&self) -> Option<Binding> {
        Some(self.certificate.current())
    }

    fn current_thumbprint(&self) -> Option<Thumbprint> {
        Some(self.certificate.thumbprint())
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.certificate.earlier()
    }

    async fn replace(&self, blamed: &Binding, _: Blame) -> bool {
        self.certificate.replace(blamed).await
    }

    async fn binding(&self) -> Result<Binding, Error> {
        Ok(self.certificate.current())
    }

    async fn assertion_for(
        &self,
        binding: &Binding,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        let asked = (self.provider)(request);
        let jwt = asked.await.map_err(|error| {
            let reason = error.to_string().chars().take(512).collect();
            Error::misuse(Some(Leg::One), Misuse::AssertionProvider(reason))
        })?;
        let error = match BoundAssertion::from_jwt(jwt, binding.certificate().clone()) {
            Ok(assertion) => return Ok(assertion),
            Err(error) => error,
        };
        // The function may see the files' next certificate before this exchange does, which then begins anew.
        if let AssertionError::BoundToAnother { found, .. } = &error
            && self.certificate.replace(binding).await
            && self.certificate.thumbprint().matches_claim(found)
        {
            let (expected, found) = (binding.thumbprint(), self.certificate.thumbprint());
            return Err(Error::misuse(Some(Leg::One), Misuse::BindingChanged { expected, found }));
        }
        Err(Error::misuse(Some(Leg::One), error))
    }
}

/// One assertion is a Leg 1 for exactly one exchange.
impl Leg1 for BoundAssertion {
    fn current_binding(&self) -> Option<Binding> {
        Some(BoundAssertion::binding(self).clone())
    }

    /// Whom it names; the next one for the same identity names him too.
    fn identity(&self) -> Option<String> {
        let claims = jws::unverified_claims(self.secret().expose()).ok()?;
        Some(format!("{} of {}", claims.string("sub")?, claims.string("iss")?))
    }

    async fn binding(&self) -> Result<Binding, Error> {
        Ok(BoundAssertion::binding(self).clone())
    }

    async fn assertion_for(
        &self,
        _binding: &Binding,
        _request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        self.spend().ok_or_else(|| Error::misuse(Some(Leg::Two), Misuse::AssertionSpent))
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The object-safe twin of [`Leg1`].
pub(crate) trait AnyLeg1: Send + Sync {
    fn identity(&self) -> Option<String>;
    fn current_thumbprint(&self) -> Option<Thumbprint>;
    fn earlier_thumbprints(&self) -> Vec<Thumbprint>;
    fn replace<'a>(
        &'a self,
        blamed: &'a Binding,
        blame: Blame,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
    fn binding(&self) -> Boxed<'_, Binding>;
    fn assertion_for<'a>(
        &'a self,
        binding: &'a Binding,
        request: &'a AssertionRequest,
    ) -> Boxed<'a, BoundAssertion>;
}

impl<L: Leg1> AnyLeg1 for L {
    fn identity(&self) -> Option<String> {
        Leg1::identity(self)
    }

    fn current_thumbprint(&self) -> Option<Thumbprint> {
        Leg1::current_thumbprint(self)
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        Leg1::earlier_thumbprints(self)
    }

    fn replace<'a>(
        &'a self,
        blamed: &'a Binding,
        blame: Blame,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(Leg1::replace(self, blamed, blame))
    }

    fn binding(&self) -> Boxed<'_, Binding> {
        Box::pin(Leg1::binding(self))
    }

    fn assertion_for<'a>(
        &'a self,
        binding: &'a Binding,
        request: &'a AssertionRequest,
    ) -> Boxed<'a, BoundAssertion> {
        Box::pin(Leg1::assertion_for(self, binding, request))
    }
}
