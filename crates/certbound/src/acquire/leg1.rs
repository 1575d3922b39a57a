//! Leg 1 by certificate: the same walk, for the exchange scope, never cached.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use certbound_core::endpoint::{Channel, Flow};
use certbound_core::request::TokenRequest;

use super::Options;
use super::station::{self, Sent};
use crate::assertion::{AssertionError, BoundAssertion};
use crate::binding::Binding;
use crate::client::Client;
use crate::correlation::CorrelationId;
use crate::credential::{ByCertificate, Proof};
use crate::error::{Error, Leg, Misuse, PeerMisbehaved};
use crate::leg1::AssertionRequest;
use crate::observe::Observer;
use crate::token::Kind;

/// An assertion about to be acquired: add options, then await it.
#[must_use = "nothing happens until it is awaited"]
pub struct AcquireLeg1<'a> {
    client: &'a Client<ByCertificate>,
    options: Options,
}

impl<'a> AcquireLeg1<'a> {
    pub(crate) fn new(client: &'a Client<ByCertificate>) -> Self {
        Self { client, options: Options::default() }
    }

    /// Forwards what belongs to the whole exchange. The tenant, region and endpoint stay Leg 1's own.
    pub(crate) fn for_exchange(mut self, request: &AssertionRequest) -> Self {
        self.options.claims.clone_from(&request.claims);
        self.options.extras.fmi_path.clone_from(&request.fmi_path);
        self.options.correlation_id = Some(request.correlation_id);
        self.options.observer.clone_from(&request.observer);
        self
    }

    /// Uses a correlation id of the caller's. Default: a fresh one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.options.correlation_id = Some(id);
        self
    }

    /// Is told of the request before it is sent.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.options.observer = Some(observer);
        self
    }

    pub(crate) async fn run(self, binding: &Binding) -> Result<BoundAssertion, Error> {
        let core = &self.client.core;
        let blame = |misuse: Misuse| Error::misuse(Some(Leg::One), misuse);
        binding.valid_at(core.clock.now()).map_err(blame)?;
        let endpoint = core
            .authority
            .token_endpoint(Flow::ClientCredentials, Channel::MutualTls)
            .map_err(|error| blame(error.into()))?;
        let scope = self.client.exchange_scope();
        let claims = self.options.merged_claims(&core.capabilities).map_err(blame)?;
        let request = TokenRequest {
            client_id: &core.client_id,
            proof: station::wire_proof(&Proof::CertificateOnly), // the handshake is the proof
            scope: scope.as_str(),
            bound: true,
            claims: claims.as_deref(),
            fmi_path: self.options.fmi_path(),
        };
        let sent = Sent {
            client: core,
            leg: Some(Leg::One),
            endpoint: &endpoint,
            kind: Kind::Bound,
            presents: Some(binding),
            correlation_id: self.options.correlation_id.unwrap_or_else(CorrelationId::random),
            options: &self.options,
        };
        let (response, took) = sent.exchange(&request).await?;
        let token = station::accept(response, &request, binding, Some(Leg::One), core.clock.now())?;
        if !token.binding_observed {
            let what = if token.readable {
                PeerMisbehaved::AssertionNotBound
            } else {
                PeerMisbehaved::BadAssertion(AssertionError::NoExpiry)
            };
            return Err(Error::peer(Some(Leg::One), what));
        }
        let report = sent.report(&request, &token.token_type, took);
        Ok(BoundAssertion::new(token.secret, binding.clone(), token.expires_at, Some(report)))
    }
}

impl<'a> IntoFuture for AcquireLeg1<'a> {
    type Output = Result<BoundAssertion, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let binding = self.client.credential.binding.clone();
            self.run(&binding).await
        })
    }
}
