//! The token service as the source of a token, with a client's credential.

use std::sync::Arc;

use certbound_core::authority::{Authority, AuthorityKind};
use certbound_core::certificate::Thumbprint;
use certbound_core::endpoint::{Channel, Flow};
use certbound_core::request::TokenRequest;
use certbound_core::scope::ResourceScope;
use certbound_core::time::UnixTime;
use tracing::{Instrument as _, Span};

use super::authority::overriding;
use super::client_core::ClientCore;
use super::context::Context;
use super::headers::Api;
use super::issuer::{FetchRequest, Fetched, Issuer};
use super::options::Options;
use super::token_request::{Exchange, wire_proof};
use crate::cache::Kind;
use crate::certificate::{BindingCertificate, Blame};
use crate::correlation::CorrelationId;
use crate::credential::{BoundAssertion, Proof, Proves};
use crate::error::{Error, Leg, Misuse};
use crate::span;

/// The settings of a client that are independent of its credential, and the credential.
#[derive(Clone)]
pub(crate) struct TokenService {
    pub(crate) client: Arc<ClientCore>,
    pub(crate) credential: Arc<dyn Proves>,
}

impl Issuer for TokenService {
    type Certificate = BindingCertificate;

    fn context(&self) -> &Context {
        &self.client.context
    }

    fn leg(&self) -> Option<Leg> {
        self.credential.leg()
    }

    fn api(&self, options: &Options) -> Api {
        Api::of(options.flow())
    }

    fn binding(certificate: &BindingCertificate) -> &BindingCertificate {
        certificate
    }

    async fn certificate(&self, _: Kind, _: CorrelationId) -> Result<Option<BindingCertificate>, Error> {
        self.credential.certificate().await
    }

    fn key_thumbprint(&self, kind: Kind, certificate: Option<&BindingCertificate>) -> Option<Thumbprint> {
        self.credential.lasting_thumbprint(kind).or_else(|| certificate.map(BindingCertificate::thumbprint))
    }

    fn thumbprint_now(&self, kind: Kind) -> Option<Option<Thumbprint>> {
        match self.credential.lasting_thumbprint(kind) {
            Some(thumbprint) => Some(Some(thumbprint)),
            None => self.credential.thumbprint_now(),
        }
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.credential.reopened(known)
    }

    async fn thumbprint(&self, kind: Kind) -> Result<Option<Thumbprint>, Error> {
        match self.thumbprint_now(kind) {
            Some(thumbprint) => Ok(thumbprint),
            None => Ok(self.credential.certificate().await?.map(|certificate| certificate.thumbprint())),
        }
    }

    /// Refuses an authority that this client can never use. The check precedes the look-up in the cache, so the cache
    /// returns no token for this authority.
    fn check(&self, options: &Options) -> Result<(), Misuse> {
        options.authority.as_ref().map_or(Ok(()), |other| overriding(&self.client, other).map(drop))
    }

    fn earlier(&self) -> Vec<Thumbprint> {
        self.credential.earlier()
    }

    fn blames(error: &Error) -> bool {
        Blame::of(error).is_some()
    }

    async fn replace(
        &self,
        failed: Option<&BindingCertificate>,
        error: Error,
        _: CorrelationId,
    ) -> Result<Option<BindingCertificate>, Error> {
        let changed = matches!(error, Error::Misuse { what: Misuse::BindingChanged { .. }, .. });
        let replaced = changed
            || match failed.and_then(|binding| Some((binding, self.blame_of(binding, &error)?))) {
                Some((binding, blame)) => self.is_replaced(binding, blame).await?,
                None => false,
            };
        if replaced { self.credential.certificate().await } else { Err(error) }
    }

    async fn replace_handle(&self, certificate: &BindingCertificate, is_gone: bool) -> Result<bool, Error> {
        self.is_replaced(certificate, Blame::NotSigned { is_gone }).await
    }

    async fn fetch(
        &self,
        certificate: Option<&BindingCertificate>,
        asked: &FetchRequest<'_>,
    ) -> Result<Fetched, Error> {
        let (client, context, options) = (&*self.client, &self.client.context, asked.options);
        let bound = asked.kind == Kind::Bound;
        match certificate {
            Some(binding) => self.checked(binding.valid_at(context.clock.now()))?,
            None if bound => return Err(self.misuse(Misuse::CertificateNotProvided)),
            None => {}
        }
        let flow = options.flow();
        if client.authority.kind() == AuthorityKind::Entra && flow == Flow::ClientCredentials {
            self.checked(ResourceScope::parse(asked.scope.as_str()))?;
        }
        let over_mtls = certificate.is_some() && self.credential.presents(asked.kind);
        let channel = if over_mtls { Channel::MutualTls } else { Channel::Plain };
        let usable = |authority: &Authority| {
            if over_mtls {
                authority.check_mutual_tls()?;
            }
            if bound { authority.check_tenant() } else { Ok(()) }
        };
        let authority = self.authority(options, asked.correlation_id, usable).await?;
        let mut authority = client.in_region(authority, flow, channel).await;
        let mut of_leg1 = None;
        loop {
            let error = match self.fetch_at(&authority, certificate, asked, channel, &mut of_leg1).await {
                Err(error) => error,
                fetched => return fetched,
            };
            authority = client.without_unreachable_region(authority, self.leg(), error)?;
        }
    }
}

impl TokenService {
    /// Returns whether a replacement of the certificate is in use: a different certificate or, if the handle of the key
    /// did not sign, a different handle. If no replacement is in use yet, the credential looks for a replacement.
    async fn is_replaced(&self, failed: &BindingCertificate, blame: Blame) -> Result<bool, Error> {
        if let Blame::NotSigned { .. } = blame
            && self.credential.reopened(failed).is_some_and(|in_use| in_use.is_reopening_of(failed))
        {
            return Ok(true);
        }
        self.credential.replace(failed, blame).await
    }

    /// Returns the certainty with which an error blames the certificate of this acquisition. The result is `None` if a
    /// different certificate would not help.
    fn blame_of(&self, certificate: &BindingCertificate, error: &Error) -> Option<Blame> {
        let presented = error.target().and_then(|target| target.certificate);
        match (self.leg(), error.leg()) {
            (Some(Leg::Two), Some(Leg::Two)) => Blame::of_leg1(error),
            // An error of Leg 1 can be about the certificate of Leg 1, which can be a different certificate.
            (own, other) if own != other && presented != Some(certificate.thumbprint()) => {
                Blame::of(error).map(Blame::of_another)
            }
            _ => Blame::of(error),
        }
    }

    /// Requests the token from this authority, whose region is known. `of_leg1` is the assertion of Leg 1, if Leg 1 has
    /// been run for this acquisition.
    async fn fetch_at(
        &self,
        authority: &Authority,
        certificate: Option<&BindingCertificate>,
        asked: &FetchRequest<'_>,
        channel: Channel,
        of_leg1: &mut Option<BoundAssertion>,
    ) -> Result<Fetched, Error> {
        let (client, context, options) = (&*self.client, &self.client.context, asked.options);
        let (bound, flow) = (asked.kind == Kind::Bound, options.flow());
        let endpoint = self.checked(authority.token_endpoint(flow, channel))?;
        if bound {
            self.checked(authority.check_binding(self.leg().is_none()))?;
        }

        let claims = self.checked(options.merged_claims(&client.capabilities))?;
        let mut exchange = Exchange {
            context,
            leg: self.leg(),
            endpoint: &endpoint,
            kind: asked.kind,
            api: Api::of(flow),
            certificate,
            over_mtls: channel == Channel::MutualTls,
            assertion_expires_at: None,
            ignores_case: authority.kind().ignores_case(),
            correlation_id: asked.correlation_id,
            reason: asked.reason,
            options,
        };
        // Leg 1 is not run for a request that would not be sent.
        exchange.check_throttle(asked.scope.as_str(), claims.as_deref())?;

        let before_proof = context.clock.monotonic();
        let assertion = options.assertion_request(client, authority, &endpoint, asked.correlation_id);
        let now = context.clock.now();
        let proof = match of_leg1.take() {
            // The assertion does not depend on the region of Leg 2.
            Some(earlier) => Proof::Bound(earlier),
            None => self.credential.proof(certificate, asked.kind, &assertion, now).await?, // in Leg 2 this runs Leg 1
        };
        let in_leg1 = context.clock.monotonic().saturating_sub(before_proof);
        self.accept_proof(&proof, certificate, context.clock.now())?;
        if let Proof::Bound(assertion) = &proof {
            exchange.assertion_expires_at = Some(assertion.expires_at());
            *of_leg1 = Some(assertion.again());
        }

        let request = TokenRequest {
            client_id: &client.client_id,
            grant: options.grant(),
            proof: wire_proof(&proof),
            scope: asked.scope.as_str(),
            bound: bound && authority.kind().speaks_mtls_pop(),
            claims: claims.as_deref(),
            fmi_path: options.extras.fmi_path.as_deref(),
            extra: &options.extras.body,
        };
        let span = self.leg().map_or_else(Span::none, span::leg);
        let answer = exchange.run(&request).instrument(span.clone()).await;
        if let Err(error) = &answer {
            span::record_error(&span, error);
            if let Error::Refused { .. } = error {
                self.credential.refused();
            }
        }
        drop(span);
        let (token, report) = answer?;
        let leg1 = match &proof {
            Proof::Bound(assertion) => assertion.report().cloned(),
            _ => None,
        };
        Ok(Fetched {
            token,
            tenant: authority.tenant().map_or_else(Box::default, |tenant| tenant.as_str().into()),
            endpoint: endpoint.url().into(),
            region: endpoint.region().cloned(),
            region_outcome: Some(endpoint.region_outcome().clone()),
            by_resource: false,
            in_http: report.took,
            legs: leg1.into_iter().chain([report]).collect(),
            in_leg1,
        })
    }

    /// Checks that the assertion is bound to the certificate of this acquisition and does not expire soon.
    fn accept_proof(
        &self,
        proof: &Proof,
        certificate: Option<&BindingCertificate>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let Proof::Bound(assertion) = proof else { return Ok(()) };
        let Some(binding) = certificate else { return Err(self.misuse(Misuse::CertificateNotProvided)) };
        if assertion.binding() != binding {
            let (expected, found) = (binding.thumbprint(), assertion.binding().thumbprint());
            return Err(self.misuse(Misuse::BindingChanged { expected, found }));
        }
        self.checked(assertion.alive_at(now))
    }

    fn checked<T>(&self, result: Result<T, impl Into<Misuse>>) -> Result<T, Error> {
        result.map_err(|misuse| self.misuse(misuse))
    }

    pub(super) fn misuse(&self, misuse: impl Into<Misuse>) -> Error {
        Error::misuse(self.leg(), misuse)
    }
}
