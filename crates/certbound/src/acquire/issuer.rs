//! The trait between an acquisition and the source of its token.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::refusal::recovery::Failure;
use certbound_core::region::{Region, RegionOutcome};
use certbound_core::scope::ResourceScope;

use super::Options;
use super::accept::Accepted;
use super::context::Context;
use super::headers::{Api, RefreshReason};
use crate::cache::key::CacheKey;
use crate::cache::{
    Connections, Entry, Expiry, Kind, Loaded, Members, Obtained, Origin, Report, RequestSeq, TokenFacts,
};
use crate::certificate::BindingCertificate;
use crate::correlation::CorrelationId;
use crate::error::{Error, Leg, Misuse};
use crate::observe::LegReport;
use crate::rejected::TokenHash;

/// A source of tokens: the token service with a client's credential, or the platform with a managed identity.
pub(crate) trait Issuer: Clone + Send + Sync + 'static {
    /// A certificate together with the facts that the issuer needs to use it.
    type Certificate: Send + Sync + 'static;

    fn context(&self) -> &Context;

    /// Returns the leg of the issuer's requests. The leg is `None` if one request is enough for the token.
    fn leg(&self) -> Option<Leg>;

    /// Returns the flow of an acquisition with these options.
    fn api(&self, options: &Options) -> Api;

    fn binding(certificate: &Self::Certificate) -> &BindingCertificate;

    /// Returns whether [`Issuer::certificate`] needs no request and does not wait.
    fn has_certificate(&self, kind: Kind) -> bool {
        self.thumbprint_now(kind).is_some()
    }

    /// Returns the certificate for this acquisition. The result is `None` if the issuer requests this kind of token
    /// without a certificate.
    fn certificate(
        &self,
        kind: Kind,
        id: CorrelationId,
    ) -> impl Future<Output = Result<Option<Self::Certificate>, Error>> + Send;

    /// Returns the thumbprint for the cache key of a token that is requested with this certificate.
    fn key_thumbprint(&self, _kind: Kind, certificate: Option<&BindingCertificate>) -> Option<Thumbprint> {
        certificate.map(BindingCertificate::thumbprint)
    }

    /// Returns the thumbprint for the cache key, or `Some(None)` without a certificate. `None` means that the caller
    /// must wait for the certificate.
    fn thumbprint_now(&self, kind: Kind) -> Option<Option<Thumbprint>>;

    /// Returns the certificate in use, if it is the certificate `known` with a different handle of its key.
    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate>;

    /// Returns the thumbprint in the cache key of a token of this kind. An issuer that is a platform requests no new
    /// certificate here: the result is `None` if there is no certificate.
    fn thumbprint(&self, kind: Kind) -> impl Future<Output = Result<Option<Thumbprint>, Error>> + Send;

    /// Refuses options that the issuer does not support.
    fn check(&self, _options: &Options) -> Result<(), Misuse> {
        Ok(())
    }

    /// Returns the thumbprints of the earlier certificates, newest first. Their tokens can still be valid.
    fn earlier(&self) -> Vec<Thumbprint>;

    /// Returns whether `error` blames the certificate.
    fn blames(error: &Error) -> bool;

    /// Returns the certificate for a second attempt after `error`.
    ///
    /// # Errors
    /// `error` itself, if no other certificate would help. Otherwise the error of the search for a replacement.
    fn replace(
        &self,
        failed: Option<&Self::Certificate>,
        error: Error,
        id: CorrelationId,
    ) -> impl Future<Output = Result<Option<Self::Certificate>, Error>> + Send;

    /// Looks for a replacement of a certificate after the handle of its key did not sign. Returns whether a replacement
    /// exists: a different certificate, or the same certificate with a key that was opened again. `is_gone` means that
    /// the handle will never sign again.
    fn replace_handle(
        &self,
        certificate: &BindingCertificate,
        is_gone: bool,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Returns the number of certificates that were issued to this process so far. By default, it is zero.
    fn certificates_issued(&self) -> u64 {
        0
    }

    /// Can return a new certificate, if `wish` demands it and `certificate` is older than the acquisition. Otherwise,
    /// and by default, returns `certificate`. It also returns `certificate` in an outage.
    ///
    /// # Errors
    /// The error of requesting a new certificate.
    fn renewed(
        &self,
        wish: Wish,
        certificate: Option<Self::Certificate>,
        id: CorrelationId,
    ) -> impl Future<Output = Result<Option<Self::Certificate>, Error>> + Send {
        let _ = (wish, id);
        std::future::ready(Ok(certificate))
    }

    /// Returns whether a request to the platform must name the token that the new token replaces.
    fn names_replaced_token(&self) -> bool {
        false
    }

    /// Requests one token and checks the response.
    fn fetch(
        &self,
        certificate: Option<&Self::Certificate>,
        request: &FetchRequest<'_>,
    ) -> impl Future<Output = Result<Fetched, Error>> + Send;
}

/// The reason of a request that can demand a new certificate.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    /// The row of the table of recoveries.
    pub(crate) why: Failure,
    /// The value of [`Issuer::certificates_issued`] when the acquisition began. A certificate with a higher number is
    /// new.
    pub(crate) issued_before: u64,
}

/// The request for one token to an issuer.
pub(crate) struct FetchRequest<'a> {
    pub(crate) kind: Kind,
    pub(crate) scope: &'a ResourceScope,
    pub(crate) options: &'a Options,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) reason: RefreshReason,
    /// The token that the request asks the platform to replace.
    pub(crate) replaces: Option<TokenHash>,
}

/// A token that passed all checks, with the facts of its request.
pub(crate) struct Fetched {
    pub(crate) token: Accepted,
    pub(crate) endpoint: Box<str>,
    /// The tenant of the request. The text is empty if the issuer has no tenant.
    pub(crate) tenant: Box<str>,
    pub(crate) region: Option<Region>,
    /// The way in which the region was determined. The field is `None` for a token that a platform issued itself,
    /// because platforms have no region.
    pub(crate) region_outcome: Option<RegionOutcome>,
    /// Whether the request named the bare resource instead of a scope, as a request to a platform does.
    pub(crate) by_resource: bool,
    pub(crate) legs: Vec<LegReport>,
    pub(crate) in_http: Duration,
    pub(crate) in_leg1: Duration,
}

impl Fetched {
    /// Turns the token into a cache entry. The entry of a bound token contains the certificate.
    pub(super) fn into_loaded(
        self,
        key: CacheKey,
        (seq, id): (RequestSeq, CorrelationId),
        binding: Option<&BindingCertificate>,
        context: &Context,
    ) -> Loaded {
        let Accepted {
            secret,
            token_type,
            granted,
            at,
            expires_at,
            refresh_at,
            binding_observed,
            additional,
        } = self.token;
        let origin = Origin {
            endpoint: self.endpoint,
            tenant: self.tenant,
            region: self.region,
            region_outcome: self.region_outcome,
            token_type: token_type.into(),
            binding_observed,
            by_resource: self.by_resource,
            connections: Connections(Arc::clone(&context.transport)),
        };
        let facts = TokenFacts {
            key,
            expiry: Expiry::new(at, expires_at, refresh_at, seq),
            secret,
            origin: context.origins.shared(origin),
            correlation_id: id,
            members: Members::new(granted, additional),
        };
        let report =
            Report { legs: self.legs, http: self.in_http, leg1: self.in_leg1, cache: Duration::ZERO };
        (Entry::new(facts, binding), Obtained::from_service(report))
    }
}
