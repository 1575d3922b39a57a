//! Tokens of a managed identity: the walk, for both kinds.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::managed_identity::{BearerAnswer, MachineSource};
use certbound_core::request::{Grant, TokenRequest};
use certbound_core::scope::ResourceScope;

use super::Machine;
use super::bearer;
use super::blame::{blames_attestation, blames_certificate};
use super::certificates::Minted;
use super::error::PlatformError;
use crate::acquire::accept::{Accepted, Expected, accept};
use crate::acquire::station::{Sent, wire_proof};
use crate::acquire::{AcquireFuture, Options};
use crate::assertion::LegReport;
use crate::cache::flight::FlightKey;
use crate::cache::key::KeyRef;
use crate::correlation::CorrelationId;
use crate::credential::Proof;
use crate::error::{Error, Leg, Misuse};
use crate::headers::{self, RefreshReason};
use crate::observe::Observer;
use crate::rejected::TokenHash;
use crate::token::{BearerToken, BoundToken, Held, Inner, Kind, Source, Token, TokenBody};

/// A token of a managed identity about to be acquired: add options, then await it.
#[must_use = "nothing happens until it is awaited"]
pub struct AcquireFromMachine<'a, T> {
    machine: &'a Arc<Machine>,
    scope: &'a ResourceScope,
    options: Options,
    token: PhantomData<fn() -> T>,
}

impl<'a, T> AcquireFromMachine<'a, T> {
    pub(crate) fn new(machine: &'a Arc<Machine>, scope: &'a ResourceScope) -> Self {
        Self { machine, scope, options: Options::default(), token: PhantomData }
    }

    /// Answers a claims challenge (JSON). The cache is not read. Only a bound token's request carries it: platforms that
    /// give plain tokens have no place for it. Service Fabric is told by its hash which cached token to replace.
    pub fn claims(mut self, claims: impl Into<String>) -> Self {
        self.options.claims = Some(claims.into());
        self
    }

    /// Fetches a new token even when a live one is cached. The certificate stays.
    pub fn force_refresh(mut self) -> Self {
        self.options.force_refresh = true;
        self
    }

    /// Fetches a new token if the cached one is the one that a resource rejected. Not together with
    /// [`AcquireFromMachine::force_refresh`].
    pub fn rejected(mut self, token: TokenHash) -> Self {
        self.options.rejected = Some(token);
        self
    }

    /// Uses a correlation id of the caller's, towards the platform and the token service. Default: a fresh one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.options.correlation_id = Some(id);
        self
    }

    /// Is told of the request to the token service before it is sent; not of those to the platform.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.options.observer = Some(observer);
        self
    }
}

impl<'a> IntoFuture for AcquireFromMachine<'a, BoundToken> {
    type Output = Result<BoundToken, Error>;
    type IntoFuture = AcquireFuture<'a, BoundToken>;

    fn into_future(self) -> Self::IntoFuture {
        start(self)
    }
}

impl<'a> IntoFuture for AcquireFromMachine<'a, BearerToken> {
    type Output = Result<BearerToken, Error>;
    type IntoFuture = AcquireFuture<'a, BearerToken>;

    fn into_future(self) -> Self::IntoFuture {
        start(self)
    }
}

/// Ready with the cached token, or a future that runs the walk.
fn start<'a, T: Token + Send + 'a>(acquire: AcquireFromMachine<'a, T>) -> AcquireFuture<'a, T> {
    if let Some(token) = hit(&acquire) {
        return AcquireFuture::hit(token);
    }
    let walk = Walk {
        machine: Arc::clone(acquire.machine),
        kind: T::KIND,
        scope: acquire.scope.clone(),
        options: acquire.options,
    };
    AcquireFuture::miss(async move {
        let (held, source) = walk.run().await?;
        T::from_held(held, source).ok_or_else(|| Error::misuse(None, Misuse::CertificateNotProvided))
    })
}

/// A live cached token, when there is nothing else to do.
fn hit<T: Token>(acquire: &AcquireFromMachine<'_, T>) -> Option<T> {
    let machine = acquire.machine;
    if !acquire.options.plain() {
        return None;
    }
    let thumbprint = match T::KIND {
        Kind::Bearer => None,
        Kind::Bound => {
            machine.check_binds().ok()?;
            Some(machine.minted_and_young()?.binding.thumbprint())
        }
    };
    let key =
        KeyRef { client: &machine.cache_key, kind: T::KIND, thumbprint, scope: acquire.scope, extras: None };
    T::from_held(machine.cache.live(&key, machine.clock.now())?, Source::Cache)
}

pub(super) fn blame(leg: Option<Leg>) -> impl Fn(PlatformError) -> Error + Copy {
    move |what| Error::Platform { leg, what }
}

/// One acquisition, with everything it needs, so that it can outlive its caller.
#[derive(Clone)]
struct Walk {
    machine: Arc<Machine>,
    kind: Kind,
    scope: ResourceScope,
    options: Options,
}

impl Walk {
    async fn run(mut self) -> Result<(Held, Source), Error> {
        self.options.check().map_err(|misuse| Error::misuse(None, misuse))?;
        // The certificate, chosen once: cache key, TLS, token.
        let minted = match self.kind {
            Kind::Bearer => None,
            Kind::Bound => match self.machine.ready().map_err(blame(None))? {
                Some(minted) => Some(minted),
                None => {
                    let id = self.correlation_id();
                    // Apart, so that a hit does not carry its state.
                    Some(Box::pin(self.machine.minted(None, id)).await.map_err(blame(None))?)
                }
            },
        };
        if !self.options.skip_cache() {
            let live = self.machine.cache.live(&self.key(minted.as_deref()), self.machine.clock.now());
            if let Some(held) = live.filter(|held| !self.options.rejects(held)) {
                return Ok((held, Source::Cache));
            }
        }
        let correlation_id = self.correlation_id();
        let replaces = self.replaces();
        let flight = FlightKey {
            token: self.key(minted.as_deref()).to_key(),
            claims: self.options.claims.clone(),
            forced: self.options.force_refresh || self.options.rejected.is_some(),
            replaces,
        };
        let flights = self.machine.cache.clone();
        let load = move || -> Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(self.load(minted, replaces, correlation_id))
        };
        let (held, joined) = flights.flights().fly(flight, load).await;
        Ok((held?, if joined { Source::Joined } else { Source::Service }))
    }

    /// Not made for a token from the cache, which it would cost as much as the rest.
    fn correlation_id(&mut self) -> CorrelationId {
        *self.options.correlation_id.get_or_insert_with(CorrelationId::random)
    }

    /// The token that the platform is told to replace: the cached one, if it drew a challenge or was rejected. Told to
    /// Service Fabric only, which otherwise may give it again.
    fn replaces(&self) -> Option<TokenHash> {
        let asked = self.options.claims.is_some() || self.options.rejected.is_some();
        if !asked || self.options.force_refresh || self.machine.place.origin() != MachineSource::ServiceFabric
        {
            return None;
        }
        let cached = TokenHash::of(&self.machine.cache.kept(&self.key(None))?.body().secret);
        self.options.rejected.is_none_or(|rejected| rejected == cached).then_some(cached)
    }

    async fn load(
        self,
        minted: Option<Arc<Minted>>,
        replaces: Option<TokenHash>,
        correlation_id: CorrelationId,
    ) -> Result<Held, Error> {
        let Some(minted) = minted else {
            let held = self.plain(replaces, correlation_id).await.map_err(blame(None))?;
            self.machine.cache.put(self.key(None).to_key(), held.clone());
            return Ok(held);
        };
        let (minted, held) = match self.bound(&minted, correlation_id).await {
            // The certificate is blamed: one other is tried, once.
            Err(error) if blames_certificate(&error) => {
                if let Some(hook) = self.machine.attestation.as_ref().filter(|_| blames_attestation(&error)) {
                    hook.forget();
                }
                let refused = Some(minted.binding.thumbprint());
                let minted = self.machine.minted(refused, correlation_id).await.map_err(blame(None))?;
                let held = self.bound(&minted, correlation_id).await?;
                (minted, held)
            }
            result => (minted, result?),
        };
        self.machine.cache.put(self.key(Some(&minted)).to_key(), held.clone());
        Ok(held)
    }

    async fn plain(
        &self,
        replaces: Option<TokenHash>,
        correlation_id: CorrelationId,
    ) -> Result<Held, PlatformError> {
        let before = self.machine.clock.monotonic();
        let answer = bearer::token(&self.machine, self.scope.resource(), replaces, correlation_id).await?;
        let took = self.machine.clock.monotonic().saturating_sub(before);
        let BearerAnswer { access_token, expires_at, refresh_at, .. } = answer;
        Ok(Held::Bearer(Arc::new(TokenBody {
            secret: access_token,
            scopes: vec![self.scope.resource().to_owned()],
            scopes_granted: false,
            expires_at,
            refresh_at,
            tenant: String::new(),
            endpoint: self.machine.place.base().to_owned(),
            region: None,
            correlation_id,
            binding_observed: false,
            token_type: "Bearer".to_owned(),
            additional: std::collections::BTreeMap::new(),
            legs: Vec::new(),
            http: took,
            leg1: Duration::ZERO,
        })))
    }

    async fn bound(&self, minted: &Minted, correlation_id: CorrelationId) -> Result<Held, Error> {
        let call =
            TokenCall { machine: &self.machine, minted, leg: None, options: &self.options, correlation_id };
        let had = self.machine.cache.had(&self.key(Some(minted)));
        let (token, report) = call.send(self.scope.as_str(), had).await?;
        let tenant = minted.endpoint.tenant().map_or_else(String::new, ToString::to_string);
        let body = TokenBody {
            secret: token.secret,
            scopes: token.scopes,
            scopes_granted: token.scopes_granted,
            expires_at: token.expires_at,
            refresh_at: token.refresh_at,
            tenant,
            endpoint: minted.endpoint.url().to_owned(),
            region: minted.endpoint.region().cloned(),
            correlation_id,
            binding_observed: token.binding_observed,
            token_type: token.token_type,
            additional: token.additional,
            http: report.took,
            legs: vec![report],
            leg1: Duration::ZERO,
        };
        let (binding, transport) = (minted.binding.clone(), Arc::clone(&self.machine.transport));
        Ok(Held::Bound(Arc::new(Inner { body, binding, transport })))
    }

    fn key<'a>(&'a self, minted: Option<&Minted>) -> KeyRef<'a> {
        KeyRef {
            client: &self.machine.cache_key,
            kind: self.kind,
            thumbprint: minted.map(|minted| minted.binding.thumbprint()),
            scope: &self.scope,
            extras: None,
        }
    }
}

/// One request to the token service by a machine's certificate.
pub(super) struct TokenCall<'a> {
    pub(super) machine: &'a Machine,
    pub(super) minted: &'a Minted,
    pub(super) leg: Option<Leg>,
    pub(super) options: &'a Options,
    pub(super) correlation_id: CorrelationId,
}

impl TokenCall<'_> {
    pub(super) async fn send(&self, scope: &str, had: bool) -> Result<(Accepted, LegReport), Error> {
        let misuse = |misuse: Misuse| Error::misuse(self.leg, misuse);
        let (machine, minted, binding) = (self.machine, self.minted, &self.minted.binding);
        binding.valid_at(machine.clock.now()).map_err(misuse)?;
        let claims = self.options.merged_claims(&machine.capabilities).map_err(misuse)?;
        let request = TokenRequest {
            client_id: &minted.client_id,
            grant: Grant::ManagedIdentity,
            proof: wire_proof(&Proof::CertificateOnly),
            scope,
            bound: true,
            claims: claims.as_deref(),
            fmi_path: None,
            extra: &[],
        };
        let asked_anew =
            self.options.force_refresh || self.options.claims.is_some() || self.options.rejected.is_some();
        let sent = Sent {
            transport: &*machine.transport,
            clock: &*machine.clock,
            leg: self.leg,
            endpoint: &minted.endpoint,
            kind: Kind::Bound,
            api: headers::api_of_identity(machine.id.is_system()),
            presents: Some(binding),
            correlation_id: self.correlation_id,
            reason: match (asked_anew, had) {
                (true, _) => RefreshReason::ForcedOrClaims,
                (false, true) => RefreshReason::Expired,
                (false, false) => RefreshReason::NoCachedToken,
            },
            options: self.options,
        };
        let (response, took) = sent.exchange(&request).await?;
        let expected = Expected { binding: Some(binding), leg: self.leg };
        let token = accept(response, &request, expected, machine.clock.now())?;
        let report = sent.report(&request, &token.token_type, took);
        Ok((token, report))
    }
}
