//! Leg 1 by certificate: a token request for the exchange scope. The cache never contains its result.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use certbound_core::authority::{Authority, AuthorityKind};
use certbound_core::endpoint::{Channel, Flow};
use certbound_core::request::{Grant, TokenRequest};

use crate::acquire::Options;
use crate::acquire::discovery::DiscoveryRequest;
use crate::acquire::headers::{Api, RefreshReason};
use crate::acquire::token_request::{Exchange, wire_proof};
use crate::cache::Kind;
use crate::certificate::{BindingCertificate, Blame};
use crate::client::Client;
use crate::correlation::CorrelationId;
use crate::credential::{AssertionRequest, BoundAssertion, ByCertificate, Proof};
use crate::error::{Error, Leg, Misuse};
use crate::observe::Observer;
use crate::span;

/// A Leg 1 that has not started: add options, then await it.
#[must_use = "nothing happens until it is awaited"]
#[derive(Clone)]
pub struct AcquireLeg1<'a> {
    client: &'a Client<ByCertificate>,
    options: Options,
}

impl<'a> AcquireLeg1<'a> {
    pub(crate) fn new(client: &'a Client<ByCertificate>) -> Self {
        Self { client, options: Options::default() }
    }

    /// Copies the values of Leg 2 that apply to the whole exchange. Leg 1 keeps its own tenant, region and endpoint.
    pub(crate) fn for_exchange(mut self, request: &AssertionRequest) -> Self {
        self.options.claims.clone_from(&request.claims);
        self.options.extras.fmi_path.clone_from(&request.fmi_path);
        self.options.correlation_id = Some(request.correlation_id);
        self.options.observer.clone_from(&request.observer);
        self.options.capabilities_of_leg2.clone_from(&request.capabilities);
        self
    }

    /// Sends the parameter `fmi_path`.
    pub fn fmi_path(mut self, path: impl Into<String>) -> Self {
        self.options.extras.fmi_path = Some(path.into());
        self
    }

    /// Sends this correlation id. The default is a random id.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.options.correlation_id = Some(id);
        self
    }

    /// Registers an observer. It sees the request before the request is sent.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.options.observer = Some(observer);
        self
    }

    pub(crate) async fn run(self, binding: &BindingCertificate) -> Result<BoundAssertion, Error> {
        let core = self.client.core();
        let context = &core.context;
        let blame = |misuse: Misuse| Error::misuse(Some(Leg::One), misuse);
        binding.valid_at(context.clock.now()).map_err(|error| blame(error.into()))?;
        let kind = core.authority.kind();
        if !matches!(kind, AuthorityKind::Entra | AuthorityKind::Dsts) {
            return Err(blame(Misuse::NoTokenExchange { kind }));
        }
        let usable = core.authority.check_mutual_tls().and_then(|()| core.authority.check_tenant());
        usable.map_err(|error| blame(error.into()))?;
        let correlation_id = self.options.correlation_id.unwrap_or_else(CorrelationId::random);
        let discovery = DiscoveryRequest { context, leg: Some(Leg::One), correlation_id };
        let authority =
            core.discovery.resolve(core.authority.clone(), core.validates_authority, discovery).await?;
        let mut authority = core.in_region(authority, Flow::ClientCredentials, Channel::MutualTls).await;
        loop {
            let error = match self.request(&authority, binding, correlation_id).await {
                Err(error) => error,
                assertion => return assertion,
            };
            authority = core.without_unreachable_region(authority, Some(Leg::One), error)?;
        }
    }

    /// Sends the request to this authority, whose region is known.
    async fn request(
        &self,
        authority: &Authority,
        binding: &BindingCertificate,
        correlation_id: CorrelationId,
    ) -> Result<BoundAssertion, Error> {
        let core = self.client.core();
        let blame = |misuse: Misuse| Error::misuse(Some(Leg::One), misuse);
        let endpoint = authority.token_endpoint(Flow::ClientCredentials, Channel::MutualTls);
        let endpoint = endpoint.map_err(|error| blame(error.into()))?;
        let scope = authority.exchange_scope().map_err(|error| blame(error.into()))?;
        let claims = self.options.merged_claims(&core.capabilities).map_err(blame)?;
        let request = TokenRequest {
            client_id: &core.client_id,
            grant: Grant::ClientCredentials,
            proof: wire_proof(&Proof::CertificateOnly), // the TLS handshake is the proof
            scope: scope.as_str(),
            bound: true,
            claims: claims.as_deref(),
            fmi_path: self.options.extras.fmi_path.as_deref(),
            extra: &[],
        };
        let exchange = Exchange {
            context: &core.context,
            leg: Some(Leg::One),
            endpoint: &endpoint,
            kind: Kind::Bound,
            api: Api::ClientCredentials,
            certificate: Some(binding),
            over_mtls: true,
            assertion_expires_at: None,
            ignores_case: authority.kind().ignores_case(),
            correlation_id,
            reason: match self.options.claims {
                Some(_) => RefreshReason::ForcedOrClaims,
                None => RefreshReason::NoCachedToken,
            },
            options: &self.options,
        };
        let (token, report) = exchange.run(&request).await?;
        Ok(BoundAssertion::new(token.secret, binding.clone(), token.expires_at, Some(report)))
    }
}

impl<'a> IntoFuture for AcquireLeg1<'a> {
    type Output = Result<BoundAssertion, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(span::in_leg1(async move {
            let certificate = &self.client.credential.certificate;
            let binding = certificate.current();
            let again = self.clone();
            let error = match self.run(&binding).await {
                Err(error) => error,
                result => return result,
            };
            match Blame::of(&error) {
                Some(blame) if certificate.replace(&binding, blame, Some(Leg::One)).await? => {
                    again.run(&certificate.current()).await
                }
                _ => Err(error),
            }
        }))
    }
}
