//! A managed identity as Leg 1: bound assertions, and plain ones where the platform gives no others.

use std::sync::Arc;

use certbound_core::environment::Cloud;
use certbound_core::scope::ExchangeScope;
use certbound_core::secret::Secret;

use super::acquire::{TokenCall, blame, blames_certificate};
use super::{ManagedIdentity, bearer};
use crate::acquire::Options;
use crate::assertion::{AssertionError, BoundAssertion};
use crate::binding::Binding;
use crate::correlation::CorrelationId;
use crate::credential::UnboundAssertions;
use crate::error::{Error, Leg, PeerMisbehaved};
use crate::leg1::{AssertionRequest, Leg1};

const LEG: Option<Leg> = Some(Leg::One);

impl ManagedIdentity {
    /// Leg 1 alone: an assertion for the token exchange, bound to the machine's certificate. Never from a cache.
    ///
    /// The audience is that of the cloud in which the certificate is used.
    ///
    /// # Errors
    /// As [`ManagedIdentity::bound_token`].
    pub async fn assertion(&self) -> Result<BoundAssertion, Error> {
        let id = CorrelationId::random();
        let minted = self.machine.minted(None, id).await.map_err(blame(LEG))?;
        let binding = minted.binding.clone();
        let options = Options { correlation_id: Some(id), ..Options::default() };
        match self.exchange(&binding, &options, id).await {
            Err(error) if blames_certificate(&error) => {
                let refused = Some(binding.thumbprint());
                let minted = self.machine.minted(refused, id).await.map_err(blame(LEG))?;
                let binding = minted.binding.clone();
                self.exchange(&binding, &options, id).await
            }
            result => result,
        }
    }

    async fn exchange(
        &self,
        binding: &Binding,
        options: &Options,
        correlation_id: CorrelationId,
    ) -> Result<BoundAssertion, Error> {
        let minted = self.machine.minted(None, correlation_id).await.map_err(blame(LEG))?;
        // A renewal may have come between; what is delivered says so itself, and the exchange begins anew.
        let minted = if minted.binding == *binding { minted } else { Arc::clone(&minted) };
        let cloud = Cloud::of_host(minted.endpoint.host()).unwrap_or(Cloud::Public);
        let scope = ExchangeScope::of(cloud);
        let call = TokenCall { machine: &self.machine, minted: &minted, leg: LEG, options, correlation_id };
        let (token, report) = call.send(scope.as_str(), false).await?;
        if !token.binding_observed {
            let what = match token.readable {
                true => PeerMisbehaved::AssertionNotBound,
                false => PeerMisbehaved::BadAssertion(AssertionError::NoExpiry),
            };
            return Err(Error::peer(LEG, what));
        }
        Ok(BoundAssertion::new(token.secret, minted.binding.clone(), token.expires_at, Some(report)))
    }
}

impl Leg1 for ManagedIdentity {
    fn current_binding(&self) -> Option<Binding> {
        self.machine.minted_now().map(|minted| minted.binding.clone())
    }

    async fn binding(&self) -> Result<Binding, Error> {
        let minted = self.machine.minted(None, CorrelationId::random()).await.map_err(blame(LEG))?;
        Ok(minted.binding.clone())
    }

    async fn assertion_for(
        &self,
        binding: &Binding,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        let options = Options {
            claims: request.claims.clone(),
            correlation_id: Some(request.correlation_id),
            observer: request.observer.clone(),
            ..Options::default()
        };
        match self.exchange(binding, &options, request.correlation_id).await {
            // The assertion then is bound to another certificate, for which the exchange begins anew, once.
            Err(error) if blames_certificate(&error) => {
                let refused = Some(binding.thumbprint());
                let minted =
                    self.machine.minted(refused, request.correlation_id).await.map_err(blame(LEG))?;
                let binding = minted.binding.clone();
                self.exchange(&binding, &options, request.correlation_id).await
            }
            result => result,
        }
    }
}

/// The classic exchange, without a binding: a plain token of the identity is the assertion, for Bearer tokens only.
impl UnboundAssertions for ManagedIdentity {
    async fn assertion(&self, request: &AssertionRequest) -> Result<Arc<Secret>, Error> {
        let cloud =
            request.token_endpoint.strip_prefix("https://").and_then(|rest| rest.split(['/', ':']).next());
        let cloud = cloud.and_then(Cloud::of_host).unwrap_or(Cloud::Public);
        let answer = bearer::token(&self.machine, cloud.exchange_uri(), request.correlation_id).await;
        answer.map(|answer| Arc::new(answer.access_token)).map_err(blame(LEG))
    }
}
