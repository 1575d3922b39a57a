//! A managed identity as a source of assertions: bound assertions for Leg 1, and unbound assertions for Bearer tokens.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::environment::NoExchangeAudience;
use certbound_core::scope::ExchangeScope;
use certbound_core::secret::Secret;

use super::call::{TokenCall, blame};
use super::issued_certificate::IssuedCertificate;
use super::{ManagedIdentity, bearer};
use crate::acquire::Options;
use crate::acquire::accept::Accepted;
use crate::acquire::headers::RefreshReason;
use crate::cache::Kind;
use crate::certificate::{BindingCertificate, Blame};
use crate::correlation::CorrelationId;
use crate::credential::{AssertionRequest, BoundAssertion, Leg1, UnboundAssertions};
use crate::error::{Error, Leg, Misuse};
use crate::observe::{LegReport, Observer};
use crate::span;

const LEG: Option<Leg> = Some(Leg::One);

impl ManagedIdentity {
    /// Requests only Leg 1: an assertion for the token exchange that is bound to the machine's certificate. The
    /// assertion is never cached.
    ///
    /// The audience of the assertion is the token-exchange audience of the cloud in which the certificate is used. If
    /// the host of the certificate's token service belongs to no known cloud, this call fails. In this case an exchange
    /// uses the cloud of Leg 2.
    ///
    /// # Errors
    /// The errors of [`ManagedIdentity::bound_token`].
    pub fn assertion(&self) -> AcquireMachineLeg1<'_> {
        AcquireMachineLeg1 { identity: self, options: Options::default() }
    }

    /// Requests an assertion that is bound to this certificate, or to its replacement.
    async fn bound_assertion(
        &self,
        certificate: Arc<IssuedCertificate>,
        options: &Options,
        correlation_id: CorrelationId,
        exchange: Option<&Authority>,
    ) -> Result<BoundAssertion, Error> {
        let obtained = self.exchange(Kind::Bound, certificate, options, correlation_id, exchange).await?;
        let (certificate, (token, report)) = obtained;
        Ok(BoundAssertion::new(token.secret, certificate.binding.clone(), token.expires_at, Some(report)))
    }

    /// Requests a token for the token exchange with this certificate. If the service blames the certificate, the
    /// request is repeated once with a different certificate. Also returns the certificate of the last request.
    async fn exchange(
        &self,
        kind: Kind,
        certificate: Arc<IssuedCertificate>,
        options: &Options,
        correlation_id: CorrelationId,
        exchange: Option<&Authority>,
    ) -> Result<(Arc<IssuedCertificate>, (Accepted, LegReport)), Error> {
        // The cloud of the exchange is known even if the platform names an unknown host.
        let scope = match (ExchangeScope::at_host(certificate.endpoint.host()), exchange) {
            (Err(NoExchangeAudience::UnknownHost { .. }), Some(exchange)) => exchange.exchange_scope(),
            (scope, _) => scope,
        };
        let scope = &scope.map_err(|error| Error::misuse(LEG, error))?;
        let machine = self.machine();
        let send = async |certificate: &IssuedCertificate| {
            let call = TokenCall { machine, kind, certificate, leg: LEG, options, correlation_id };
            call.send(scope.as_str(), RefreshReason::NoCachedToken).await
        };
        match send(&certificate).await {
            Ok(sent) => Ok((certificate, sent)),
            Err(error) => {
                let certificate = machine.replacement_after(&certificate, error, LEG, correlation_id).await?;
                let sent = send(&certificate).await?;
                Ok((certificate, sent))
            }
        }
    }
}

/// A Leg 1 of a managed identity that has not started: add options, then await it.
#[must_use = "nothing happens until it is awaited"]
pub struct AcquireMachineLeg1<'a> {
    identity: &'a ManagedIdentity,
    options: Options,
}

impl AcquireMachineLeg1<'_> {
    /// Sends this correlation id to the platform and to the token service. The default is a random id.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.options.correlation_id = Some(id);
        self
    }

    /// Registers an observer. The observer sees the request to the token service before it is sent, but not the
    /// requests to the platform.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.options.observer = Some(observer);
        self
    }
}

impl<'a> IntoFuture for AcquireMachineLeg1<'a> {
    type Output = Result<BoundAssertion, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { identity, mut options } = self;
        Box::pin(span::in_leg1(async move {
            let id = *options.correlation_id.get_or_insert_with(CorrelationId::random);
            let certificate = identity.machine().certificate(None, id).await.map_err(blame(LEG))?;
            identity.bound_assertion(certificate, &options, id, None).await
        }))
    }
}

impl Leg1 for ManagedIdentity {
    fn current_binding(&self) -> Option<BindingCertificate> {
        let certificate = self.machine().usable_certificate(self.machine().context.clock.now());
        certificate.map(|certificate| certificate.binding.clone())
    }

    fn current_thumbprint(&self) -> Option<Thumbprint> {
        self.machine().current_thumbprint(self.machine().context.clock.now())
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.machine().earlier()
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.machine().reopened(known)
    }

    fn identity(&self) -> Option<String> {
        Some(self.machine().cache_identity.clone())
    }

    /// Requests a new certificate, except in the pause after a replacement (three minutes to one day). A suspected
    /// certificate can still be used for its valid tokens. If only the handle of the key did not sign, the function
    /// asks the key provider for a different handle.
    async fn replace(&self, blamed: &BindingCertificate, blame: Blame) -> Result<bool, Error> {
        if let Blame::Refused { .. } = blame {
            self.machine().refuse(blamed.thumbprint()).await;
        }
        let found = self.machine().replacement(blamed, blame, CorrelationId::random()).await;
        // If no certificate can be obtained, the caller gets the refusal.
        Ok(matches!(found, Ok(Some(_))))
    }

    async fn binding(&self) -> Result<BindingCertificate, Error> {
        let certificate =
            self.machine().certificate(None, CorrelationId::random()).await.map_err(blame(LEG))?;
        Ok(certificate.binding.clone())
    }

    /// Uses exactly the given certificate until it expires. If the certificate was refused in the meantime, the
    /// assertion is bound to a different certificate, and the exchange is repeated once with that certificate.
    async fn assertion_for(
        &self,
        binding: &BindingCertificate,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        let options = options_of(request)?;
        self.machine().check_binds().map_err(blame(LEG))?;
        let certificate = match self.machine().find_certificate(binding.thumbprint()) {
            Some(certificate) => certificate,
            None => self.machine().certificate(None, request.correlation_id).await.map_err(blame(LEG))?,
        };
        self.bound_assertion(certificate, &options, request.correlation_id, Some(&request.authority)).await
    }
}

/// Returns the options of the request for an assertion. A platform takes no `fmi_path`.
fn options_of(request: &AssertionRequest) -> Result<Options, Error> {
    if request.fmi_path.is_some() {
        return Err(Error::misuse(LEG, Misuse::NotForManagedIdentity));
    }
    Ok(Options {
        claims: request.claims.clone(),
        capabilities_of_leg2: request.capabilities.clone(),
        correlation_id: Some(request.correlation_id),
        observer: request.observer.clone(),
        ..Options::default()
    })
}

/// The exchange without a binding, for Bearer tokens only. A Bearer token of the identity is the assertion.
impl UnboundAssertions for ManagedIdentity {
    async fn assertion(&self, request: &AssertionRequest) -> Result<Arc<Secret>, Error> {
        let (options, id) = (options_of(request)?, request.correlation_id);
        if self.machine().presents(Kind::Bearer) {
            let certificate = self.machine().certificate(None, id).await.map_err(blame(LEG))?;
            let exchange = Some(&request.authority);
            let (_, (token, _)) = self.exchange(Kind::Bearer, certificate, &options, id, exchange).await?;
            return Ok(Arc::new(token.secret));
        }
        let audience = request.authority.exchange_uri().map_err(|error| Error::misuse(LEG, error))?;
        let answer = bearer::token(self.machine(), audience, None, id).await;
        answer.map(|answer| Arc::new(answer.access_token)).map_err(blame(LEG))
    }

    fn identity(&self) -> Option<String> {
        Some(self.machine().cache_identity.clone())
    }
}
