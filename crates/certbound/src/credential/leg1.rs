//! Leg 1: a source of certificates with assertions that are bound to them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::jws;
use certbound_core::secret::Secret;
use certbound_core::tenant::TenantId;

use crate::certificate::{BindingCertificate, Blame, CertificateSource, ClientCertificate};
use crate::correlation::CorrelationId;
use crate::credential::BoundAssertion;
use crate::error::{AssertionError, Error, Leg, Misuse, ProviderError};
use crate::observe::Observer;

/// A source of assertions for Leg 2.
///
/// A client with a certificate, a managed identity, a single [`BoundAssertion`] (for one exchange) and the result of
/// [`leg1_fn`] implement this trait, and your own types can implement it too. Every acquisition can call `binding()`,
/// so this function must be cheap. An acquisition calls `assertion_for()` only when a token must be requested. The
/// assertion must be bound to exactly the given certificate. Otherwise the exchange is repeated once. It fails with
/// `binding_changed` if the second assertion is not bound to its certificate either.
pub trait Leg1: Send + Sync + 'static {
    /// Returns the certificate in use, if it is known without waiting. If so, the look-up in the cache needs no future,
    /// and a cache hit opens no span.
    fn current_binding(&self) -> Option<BindingCertificate> {
        None
    }

    /// Returns the thumbprint of the certificate in use, if it is known without waiting. Every cache hit calls this
    /// function, so it should not clone the certificate. The default is the thumbprint of [`Leg1::current_binding`].
    fn current_thumbprint(&self) -> Option<Thumbprint> {
        self.current_binding().map(|binding| binding.thumbprint())
    }

    /// Returns the thumbprints of the earlier certificates, newest first. During an outage the cache returns their
    /// valid tokens. By default, the list is empty.
    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        Vec::new()
    }

    /// Returns the certificate in use, if it is the certificate `known` with a new handle of its key. Cached tokens are
    /// then used with the new handle of the key. If the certificate in use is known without waiting, every cache hit of
    /// a bound token calls this function. The client ignores a certificate other than `known`. The default compares
    /// `known` with [`Leg1::current_binding`].
    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.current_binding().filter(|current| current.is_reopening_of(known))
    }

    /// Looks for a replacement of the certificate `blamed`, and returns whether a replacement is in use now. A client
    /// calls this function after the token service refused the certificate, or may have refused it; `blame`
    /// distinguishes these two cases, and has the AADSTS number of a refusal. A suspected certificate can still be
    /// valid. A client also calls this function if the handle of the key did not sign ([`Blame::NotSigned`]): the same
    /// certificate with a new handle is then a replacement too. If several callers call this function at the same time,
    /// the function must look only once for each certificate. If the function returns true, the client repeats the
    /// exchange or the call of a resource with the replacement. By default, the function returns false.
    ///
    /// # Errors
    /// An error, if the search for a replacement failed. The caller gets this error.
    fn replace(
        &self,
        blamed: &BindingCertificate,
        blame: Blame,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        let _ = (blamed, blame);
        std::future::ready(Ok(false))
    }

    /// Returns a name of the identity in the assertions, if a different Leg 1 with the same certificate could have a
    /// different identity. Clients with different names share no cached tokens. The builder calls this function once,
    /// when it builds a client. The default is `None`.
    fn identity(&self) -> Option<String> {
        None
    }

    /// Returns the certificate in use.
    fn binding(&self) -> impl Future<Output = Result<BindingCertificate, Error>> + Send;

    /// Returns a new assertion that is bound to `binding`.
    fn assertion_for(
        &self,
        binding: &BindingCertificate,
        request: &AssertionRequest,
    ) -> impl Future<Output = Result<BoundAssertion, Error>> + Send;
}

/// The facts of the exchange that Leg 2 passes to Leg 1.
#[derive(Clone)]
#[non_exhaustive]
pub struct AssertionRequest {
    /// The application that will present the assertion.
    pub client_id: Arc<str>,
    /// The authority of the exchange, with its region.
    pub authority: Authority,
    /// The tenant of the exchange. It is `None` for AD FS and OpenID issuers.
    pub tenant: Option<TenantId>,
    /// The token endpoint that the exchange will use.
    pub token_endpoint: String,
    /// The claims challenge to forward, if any.
    pub claims: Option<String>,
    /// The capabilities that the application declares.
    pub capabilities: Vec<String>,
    /// The FMI path of the assertion, if any.
    pub fmi_path: Option<String>,
    /// The correlation id of the whole acquisition.
    pub correlation_id: CorrelationId,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) assertion_claims: Option<String>,
}

impl fmt::Debug for AssertionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionRequest")
            .field("client_id", &self.client_id)
            .field("authority", &self.authority.url())
            .field("token_endpoint", &self.token_endpoint)
            .field("correlation_id", &self.correlation_id)
            .finish_non_exhaustive()
    }
}

/// Returns a Leg 1 from a certificate and a function that returns the text of an assertion.
///
/// The function is called for each exchange that needs a new assertion, and never on a cache hit. Its result is checked
/// in the same way as in [`BoundAssertion::from_jwt`]. If the certificate is replaced in the meantime, and the
/// assertion is bound to the new certificate, the exchange is repeated once and the function is called again.
///
/// An error of the function is kept as the source of [`Error::Provider`]. The error is transient, except for
/// [`ProviderError::permanent`] and for an [`Error`] that is not transient. The cache hides a transient error while a
/// token is still valid.
///
/// ```no_run
/// use certbound::credential::leg1_fn;
/// use certbound::{BindingCertificate, Secret};
///
/// let certificate = BindingCertificate::from_pem_file("app.pem")?;
/// let leg1 = leg1_fn(certificate, |request| {
///     println!("assertion asked for {}", request.token_endpoint);
///     async { std::fs::read_to_string("assertion.jwt").map(Secret::new) }
/// });
/// # drop(leg1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn leg1_fn<F, Fut, E>(certificate: impl CertificateSource, provider: F) -> impl Leg1
where
    F: Fn(&AssertionRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Secret, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Provided { certificate: ClientCertificate::new(certificate), provider }
}

struct Provided<F> {
    certificate: ClientCertificate,
    provider: F,
}

impl<F, Fut, E> Leg1 for Provided<F>
where
    F: Fn(&AssertionRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Secret, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn current_binding(&self) -> Option<BindingCertificate> {
        Some(self.certificate.current())
    }

    fn current_thumbprint(&self) -> Option<Thumbprint> {
        Some(self.certificate.thumbprint())
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.certificate.earlier()
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.certificate.reopened(known)
    }

    async fn replace(&self, blamed: &BindingCertificate, blame: Blame) -> Result<bool, Error> {
        self.certificate.replace(blamed, blame, Some(Leg::One)).await
    }

    async fn binding(&self) -> Result<BindingCertificate, Error> {
        Ok(self.certificate.current())
    }

    async fn assertion_for(
        &self,
        binding: &BindingCertificate,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        let asked = (self.provider)(request);
        let failed = |error| Error::provider(Some(Leg::One), ProviderError::new(error));
        let jwt = asked.await.map_err(failed)?;
        let error = match BoundAssertion::from_jwt(jwt, binding.clone()) {
            Ok(assertion) => return Ok(assertion),
            Err(error) => error,
        };
        // The function may use a newer certificate than this exchange, for example from renewed files. The exchange is
        // then repeated.
        if let AssertionError::BoundToAnother { found, .. } = &error
            && self.certificate.replace(binding, Blame::Suspected { aadsts: None }, Some(Leg::One)).await?
            && self.certificate.thumbprint().matches_claim(found)
        {
            let (expected, found) = (binding.thumbprint(), self.certificate.thumbprint());
            return Err(Error::misuse(Some(Leg::One), Misuse::BindingChanged { expected, found }));
        }
        Err(Error::misuse(Some(Leg::One), error))
    }
}

/// A single assertion is a Leg 1 for exactly one exchange.
impl Leg1 for BoundAssertion {
    fn current_binding(&self) -> Option<BindingCertificate> {
        Some(BoundAssertion::binding(self).clone())
    }

    /// Returns the subject and issuer of the assertion. Both are the same in the next assertion for the same identity.
    fn identity(&self) -> Option<String> {
        let claims = jws::unverified_claims(self.secret().expose()).ok()?;
        Some(format!("{} of {}", claims.string("sub")?, claims.string("iss")?))
    }

    async fn binding(&self) -> Result<BindingCertificate, Error> {
        Ok(BoundAssertion::binding(self).clone())
    }

    async fn assertion_for(
        &self,
        _binding: &BindingCertificate,
        _request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        self.spend().ok_or_else(|| Error::misuse(Some(Leg::Two), Misuse::AssertionSpent))
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The object-safe form of [`Leg1`].
pub(crate) trait AnyLeg1: Send + Sync {
    fn identity(&self) -> Option<String>;
    fn current_thumbprint(&self) -> Option<Thumbprint>;
    fn earlier_thumbprints(&self) -> Vec<Thumbprint>;
    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate>;
    fn replace<'a>(&'a self, blamed: &'a BindingCertificate, blame: Blame) -> Boxed<'a, bool>;
    fn binding(&self) -> Boxed<'_, BindingCertificate>;
    fn assertion_for<'a>(
        &'a self,
        binding: &'a BindingCertificate,
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

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        Leg1::reopened(self, known)
    }

    fn replace<'a>(&'a self, blamed: &'a BindingCertificate, blame: Blame) -> Boxed<'a, bool> {
        Box::pin(Leg1::replace(self, blamed, blame))
    }

    fn binding(&self) -> Boxed<'_, BindingCertificate> {
        Box::pin(Leg1::binding(self))
    }

    fn assertion_for<'a>(
        &'a self,
        binding: &'a BindingCertificate,
        request: &'a AssertionRequest,
    ) -> Boxed<'a, BoundAssertion> {
        Box::pin(Leg1::assertion_for(self, binding, request))
    }
}
