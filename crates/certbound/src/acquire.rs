//! Acquires a token from any source of tokens. Start reading here.
//!
//! ```text
//!  hit.rs             AcquireFuture        a fresh token from the memory of the cache; no later step runs
//!  acquire.rs         Acquisition::run     options ─► certificate ─► key ─► cache and store ─► token
//!                                                                                   │
//!                     on a miss, once for all callers that wait                     ▼
//!                     Acquisition::fetch                            Issuer::fetch ─► cache entry
//!                       │                                             once more, if the certificate was replaced
//!                       │
//!  token_service.rs   ├─ TokenService       authority ─► region ─► endpoint ─► proof ─► request
//!                     │  (a client)                                              └─ in Leg 2, the assertion of Leg 1
//!  token_request.rs   │    Exchange::run    send, with retries ─► read the answer ─► check it (`accept.rs`)
//!                     │
//!  managed_identity/  └─ Platform           issued certificate ─► request ─► Exchange::run    over mTLS
//!    platform.rs         (a managed         request to the platform ─► read the answer        for other Bearer tokens
//!                         identity)
//! ```
//!
//! Leg 1 is `client/leg1.rs` for a client with a certificate, and `managed_identity/leg1.rs` for a managed identity. Both
//! run `Exchange::run`, and the cache contains no assertion. A refresh in the background is `Acquisition::refresh`.
//!
//! | Change | Place |
//! |---|---|
//! | the causes, the number and the times of retries | `retry/table.rs` |
//! | the facts that must be equal in requests with a common `Retry-After` | `request_key.rs` |
//! | a span, or a field of a span | `span.rs`; the span of an acquisition opens and ends in `observation.rs` |
//! | a header of a token request | `headers.rs` |
//! | a check of a token response | `accept.rs` |
//! | an AADSTS number with its meaning and advice | `certbound-core/src/catalogue/aadsts.rs` |
//! | the effect of a failure on the certificate | `certbound-core/src/refusal/recovery.rs` |
//! | an option of an acquisition | `setters.rs` for callers, `options.rs` for its effect |
//! | the region of a request | `region.rs`; the detection itself is in `crate::region` |
//! | a source of tokens | implement the trait `Issuer` of `issuer.rs` |
//! | a source of bound assertions for Leg 1 | implement the trait `Leg1` of `credential/leg1.rs` |
//! | a source of unbound assertions | implement the trait `UnboundAssertions` of `credential/unbound.rs` |

pub(crate) mod accept;
mod any_issuer;
mod authority;
mod claims;
mod client_core;
mod context;
pub(crate) mod discovery;
pub(crate) mod headers;
mod hit;
pub(crate) mod issuer;
mod observation;
mod options;
mod region;
mod request_key;
mod setters;
pub(crate) mod token_request;
pub(crate) mod token_service;

use std::sync::Arc;

use certbound_core::scope::ResourceScope;
use tracing::{Instrument as _, Span};

pub(crate) use self::any_issuer::AnyIssuer;
pub(crate) use self::client_core::ClientCore;
pub(crate) use self::context::{Context, ContextSettings};
use self::headers::RefreshReason;
pub use self::hit::AcquireFuture;
pub(crate) use self::hit::hit_of_prepared;
use self::issuer::{FetchRequest, Issuer, Wish};
use self::observation::Observation;
pub(crate) use self::options::Options;
pub use self::setters::Acquire;
use crate::background::Background;
use crate::cache::key::{KeyHead, KeyRef};
use crate::cache::{Kind, LoadKey, LoadRequest, Loaded, Obtained, Payload};
use crate::certificate::BindingCertificate;
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::rejected::TokenHash;

/// One acquisition. The acquisition owns its data, and can run longer than its caller waits.
#[derive(Clone)]
pub(crate) struct Acquisition<I> {
    pub(crate) issuer: I,
    pub(crate) kind: Kind,
    pub(crate) scope: ResourceScope,
    pub(crate) options: Options,
    /// Whether this acquisition is a refresh in the background. The token that it replaces is still valid.
    pub(crate) ahead: bool,
}

impl<I: Issuer> Acquisition<I> {
    /// Returns a valid token from the cache, from the request of another caller, or from the issuer.
    pub(crate) async fn run(mut self) -> Result<Loaded, Error> {
        let id = self.correlation_id();
        let mut observation = Observation::of(&self, id);
        let options = &self.options;
        if let Err(misuse) = self.issuer.check(options).and_then(|()| options.check(self.kind)) {
            return observation.end(Err(Error::misuse(self.issuer.leg(), misuse)));
        }
        let wish = options.wish().map(|why| Wish { why, issued_before: self.issuer.certificates_issued() });
        if !self.issuer.has_certificate(self.kind) {
            observation.open(self.scope.as_str());
        }
        // TLS, a bound token and its cache key use this certificate. Only `fetch` can choose a different certificate.
        let certificate = self.issuer.certificate(self.kind, id).instrument(observation.span()).await;
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(error) => return observation.end(self.without_certificate(error)),
        };
        let binding = certificate.as_ref().map(|certificate| I::binding(certificate).clone());
        observation.set_certificate(binding.as_ref());
        let replaces = self.replaced_token();
        let request = self.load_request(certificate.as_ref(), replaces);
        let cache = self.context().cache.clone();
        let (issuer, kind) = (self.issuer.clone(), self.kind);
        // If the issuer cannot name its certificate without waiting, the certificate in use is the certificate of this
        // acquisition.
        let in_use = |known: &BindingCertificate| match issuer.thumbprint_now(kind) {
            Some(_) => issuer.reopened(known),
            None => binding.clone(),
        };
        if let Some((entry, is_due)) = cache.get(&request) {
            if is_due {
                self.refresh_ahead();
            }
            observation.end_hit();
            let obtained = Obtained::FROM_CACHE.for_handle(&entry, in_use);
            return Ok((entry, obtained));
        }
        observation.open(self.scope.as_str());
        let reason = self.reason(certificate.as_ref());
        observation.set_reason(reason);
        let load = Box::pin(self.fetch(certificate, reason, replaces, wish));
        let loaded = cache.load(request, load).instrument(observation.span()).await;
        observation.end(loaded.map(|(entry, obtained)| {
            let obtained = obtained.for_handle(&entry, in_use);
            (entry, obtained)
        }))
    }

    /// Removes the token of this request from memory and from the store. Returns whether a token was in memory.
    pub(crate) async fn forget(self) -> Result<bool, Error> {
        let context = self.context();
        let key = KeyRef { thumbprint: self.issuer.thumbprint(self.kind).await?, ..self.key(None) };
        // Tokens of earlier certificates are removed too, because the cache would return them during an outage. Tokens
        // that need no certificate have no earlier certificate.
        let needs_none = self.kind == Kind::Bearer && self.issuer.thumbprint_now(self.kind) == Some(None);
        let earlier = self.issuer.earlier().into_iter().filter(|_| !needs_none);
        let all = earlier.map(|it| KeyRef { thumbprint: Some(it), ..key }).chain([key]);
        let now = context.clock.now();
        Ok(all.filter(|key| context.cache.remove(key, now)).count() > 0)
    }

    /// Requests a new token in the background. No caller waits for the token, so an error is only logged.
    #[cold]
    pub(crate) fn refresh_ahead(mut self) {
        self.options = self.options.for_background();
        self.ahead = true;
        let (owner, cause) = (self.context().background.clone(), Span::current());
        Background::spawn(&owner, async move {
            if let Err(error) = self.refresh(cause).await {
                tracing::warn!(%error, "a background refresh of a token failed; a later call starts a new refresh");
            }
        });
    }

    /// `cause` is the span of the caller whose hit started the refresh. The refresh has its own trace, because the
    /// caller does not wait for it.
    async fn refresh(mut self, cause: Span) -> Result<(), Error> {
        let id = self.correlation_id();
        let mut observation = Observation::of(&self, id);
        observation.open_ahead(self.scope.as_str(), cause);
        let refreshed = async move {
            let certificate = self.issuer.certificate(self.kind, id).await?;
            let request = self.load_request(certificate.as_ref(), None);
            let cache = self.context().cache.clone();
            let reason = self.reason(certificate.as_ref());
            cache.refresh(request, Box::pin(self.fetch(certificate, reason, None, None))).await
        };
        let refreshed = refreshed.instrument(observation.span()).await;
        observation.end_refresh(refreshed)
    }

    /// Requests a token from the issuer. `wish` can demand a new certificate. If the request fails and the issuer has a
    /// replacement of the certificate, the function repeats the request once with the replacement.
    async fn fetch(
        self,
        certificate: Option<I::Certificate>,
        reason: RefreshReason,
        replaces: Option<TokenHash>,
        wish: Option<Wish>,
    ) -> Result<Loaded, Error> {
        let id = self.options.correlation_id.unwrap_or_else(CorrelationId::random);
        let certificate = match wish {
            Some(wish) => Box::pin(self.issuer.renewed(wish, certificate, id)).await?,
            None => certificate,
        };
        match self.attempt(certificate.as_ref(), reason, replaces, id).await {
            Err(error) => {
                // A replacement is rare, so its future is boxed. The box keeps the future of a usual acquisition small.
                let other = Box::pin(self.issuer.replace(certificate.as_ref(), error, id)).await?;
                self.attempt(other.as_ref(), reason, replaces, id).await
            }
            loaded => loaded,
        }
    }

    async fn attempt(
        &self,
        certificate: Option<&I::Certificate>,
        reason: RefreshReason,
        replaces: Option<TokenHash>,
        correlation_id: CorrelationId,
    ) -> Result<Loaded, Error> {
        let seq = self.context().cache.begin_request();
        let request = FetchRequest {
            kind: self.kind,
            scope: &self.scope,
            options: &self.options,
            correlation_id,
            reason,
            replaces,
        };
        let fetched = self.issuer.fetch(certificate, &request).await?;
        let binding = certificate.map(I::binding);
        let key = self.key(certificate).to_key(binding);
        let binding = binding.filter(|_| self.kind == Kind::Bound);
        Ok(fetched.into_loaded(key, (seq, correlation_id), binding, self.context()))
    }

    /// Returns an unexpired token of an earlier certificate, if the issuer has no certificate because of an outage.
    /// Otherwise, or if the caller demands a new token, returns `error`.
    fn without_certificate(&self, error: Error) -> Result<Loaded, Error> {
        if !error.is_transient() || self.load_key(None, None).wants_new() {
            return Err(error);
        }
        let (cache, now) = (&self.context().cache, self.context().clock.now());
        let entry = cache.in_outage(&self.key(None), &self.issuer.earlier(), now);
        entry.map(|entry| (entry, Obtained::FROM_CACHE)).ok_or(error)
    }

    fn load_request(&self, certificate: Option<&I::Certificate>, replaces: Option<TokenHash>) -> LoadRequest {
        let (context, issuer) = (self.context(), self.issuer.clone());
        LoadRequest {
            key: self.load_key(certificate, replaces),
            earlier: Box::new(move || issuer.earlier()),
            blames: I::blames,
            clock: Arc::clone(&context.clock),
            background: context.background.clone(),
            payload: Payload {
                certificate: certificate.map(|certificate| I::binding(certificate).clone()),
                transport: Arc::clone(&context.transport),
                origins: context.origins.clone(),
            },
        }
    }

    fn load_key(&self, certificate: Option<&I::Certificate>, replaces: Option<TokenHash>) -> LoadKey {
        let (key, binding) = (self.key(certificate), certificate.map(I::binding));
        let presented = binding.filter(|binding| key.thumbprint == Some(binding.thumbprint()));
        LoadKey {
            token: key.to_key(binding),
            handle: presented.map(BindingCertificate::key_id),
            claims: self.options.claims.clone(),
            forced: self.options.force_refresh,
            rejected: self.options.rejected,
            replaces,
        }
    }

    fn key<'a>(&'a self, certificate: Option<&I::Certificate>) -> KeyRef<'a> {
        KeyRef {
            head: KeyHead::new(&self.context().cache_key, self.kind, &self.scope),
            thumbprint: self.issuer.key_thumbprint(self.kind, certificate.map(I::binding)),
            extras: self.options.extras(),
        }
    }

    /// Returns the hash of the cached token, if a resource rejected or challenged this token. The request then asks the
    /// platform to replace it.
    fn replaced_token(&self) -> Option<TokenHash> {
        let options = &self.options;
        let is_rejected = options.claims.is_some() || options.rejected.is_some();
        if !is_rejected || options.force_refresh || !self.issuer.names_replaced_token() {
            return None;
        }
        let cached = TokenHash::of(&self.context().cache.any(&self.key(None))?.secret);
        options.rejected.is_none_or(|rejected| rejected == cached).then_some(cached)
    }

    /// Returns the reason for the request, for the telemetry header. A second attempt has the same reason.
    fn reason(&self, certificate: Option<&I::Certificate>) -> RefreshReason {
        let (options, cache) = (&self.options, &self.context().cache);
        if options.force_refresh || options.claims.is_some() || options.rejected.is_some() {
            RefreshReason::ForcedOrClaims
        } else if self.ahead {
            RefreshReason::Proactive
        } else if cache.is_none() {
            RefreshReason::CacheDisabled
        } else if cache.any(&self.key(certificate)).is_some() {
            RefreshReason::Expired
        } else {
            RefreshReason::NoCachedToken
        }
    }

    fn correlation_id(&mut self) -> CorrelationId {
        *self.options.correlation_id.get_or_insert_with(CorrelationId::random)
    }

    fn context(&self) -> &Context {
        self.issuer.context()
    }
}
