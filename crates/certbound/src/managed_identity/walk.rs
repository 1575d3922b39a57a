//! The walk of a managed identity's token, for both kinds.

use std::sync::Arc;
use std::time::Duration;

use certbound_core::managed_identity::{BearerAnswer, MachineSource};
use certbound_core::scope::ResourceScope;

use super::Machine;
use super::bearer;
use super::blame::blame_of;
use super::call::{TokenCall, blame};
use super::issued_certificate::IssuedCertificate;
use crate::acquire::Options;
use crate::acquire::headers::RefreshReason;
use crate::background::Background;
use crate::cache::flight::{FlightKey, Load};
use crate::cache::key::{KeyHead, KeyRef};
use crate::cache::{
    Came, Connections, Entry, Kind, Loaded, LoadedFrom, Expiry, Miss, Origin, Report, CachedToken, TokenBody, Wanted,
};
use crate::correlation::CorrelationId;
use crate::error::{Error, PlatformError};
use crate::rejected::TokenHash;

/// One acquisition, with everything it needs, so that it can outlive its caller.
#[derive(Clone)]
pub(super) struct Walk {
    pub(super) machine: Arc<Machine>,
    pub(super) kind: Kind,
    pub(super) scope: ResourceScope,
    pub(super) options: Options,
    /// Whether this is a refresh in the background, while the token that it replaces is still valid.
    pub(super) ahead: bool,
}

impl Walk {
    pub(super) async fn run(mut self) -> Result<(Entry, Came), Error> {
        self.options.check().map_err(|misuse| Error::misuse(None, misuse))?;
        // The certificate, chosen once: cache key, TLS, token.
        let minted = match self.kind {
            Kind::Bearer => None,
            Kind::Bound => match self.machine.ready().map_err(blame(None))? {
                Some(minted) => Some(minted),
                None => {
                    let id = self.correlation_id();
                    // Apart, so that a hit does not carry its state.
                    match Box::pin(self.machine.minted(None, id)).await {
                        Ok(minted) => Some(minted),
                        Err(error) => return self.of_earlier(blame(None)(error)),
                    }
                }
            },
        };
        if let Some(held) = self.cached(minted.as_deref()) {
            return Ok((held, Came::FROM_CACHE));
        }
        let correlation_id = self.correlation_id();
        let replaces = self.replaces();
        let flight = FlightKey {
            token: self.key(minted.as_deref()).to_key(),
            claims: self.options.claims.clone(),
            forced: self.options.force_refresh,
            rejected: self.options.rejected,
            replaces,
        };
        let machine = Arc::clone(&self.machine);
        let miss = Miss {
            flight,
            wants_new: self.options.wants_new(),
            earlier: move || machine.earlier(),
            blames,
            clock: Arc::clone(&self.machine.clock),
            background: self.machine.background.clone(),
        };
        let cache = self.machine.cache.clone();
        cache.acquire(miss, move || -> Load { Box::pin(self.load(minted, replaces, correlation_id)) }).await
    }

    /// Without a certificate in use, for now: a token that lives on with an earlier one.
    fn of_earlier(&self, error: Error) -> Result<(Entry, Came), Error> {
        let machine = &self.machine;
        if !error.is_transient() || self.options.wants_new() {
            return Err(error);
        }
        let held = machine.cache.in_outage(&self.key(None), &machine.earlier(), machine.clock.now());
        held.map(|held| (held, Came::FROM_CACHE)).ok_or(error)
    }

    fn cached(&self, minted: Option<&IssuedCertificate>) -> Option<Entry> {
        let (cache, key) = (&self.machine.cache, self.key(minted));
        if self.options.skip_cache() || cache.kept(&key).is_some_and(|held| self.options.rejects(&held)) {
            return None;
        }
        let now = self.machine.clock.now();
        let (held, refresh) = match cache.live(&key, now) {
            None if !self.options.wants_new() => cache.stand_in(&key, &self.machine.earlier(), now)?,
            live => live?,
        };
        if refresh {
            self.clone().refresh_ahead();
        }
        Some(held)
    }

    /// Fetches anew in the background. Nobody waits for it: a failure shows when the old token is over.
    #[cold]
    pub(super) fn refresh_ahead(mut self) {
        self.options = self.options.of_nobody();
        self.ahead = true;
        let owner = self.machine.background.clone();
        Background::spawn(&owner, async move {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "a token could not be refreshed ahead of its end yet");
            }
        });
    }

    /// A flight like any other: who needs the token meanwhile joins it.
    async fn refresh(mut self) -> Result<(), Error> {
        let correlation_id = self.correlation_id();
        let minted = match self.kind {
            Kind::Bearer => None,
            Kind::Bound => Some(self.machine.minted(None, correlation_id).await.map_err(blame(None))?),
        };
        let token = self.key(minted.as_deref()).to_key();
        let flight = FlightKey { token, claims: None, forced: false, rejected: None, replaces: None };
        let (cache, clock) = (self.machine.cache.clone(), Arc::clone(&self.machine.clock));
        let earlier = self.machine.earlier();
        let load = || -> Load { Box::pin(self.load(minted, None, correlation_id)) };
        cache.refresh(flight, &earlier, blames, load, &*clock).await
    }

    /// Not made for a token from the cache, which it would cost as much as the rest.
    fn correlation_id(&mut self) -> CorrelationId {
        *self.options.correlation_id.get_or_insert_with(CorrelationId::random)
    }

    /// The token that the platform is told to replace: the cached one, if it drew a challenge or was rejected. Told to
    /// Service Fabric only, which otherwise may give it again.
    fn replaces(&self) -> Option<TokenHash> {
        let asked = self.options.claims.is_some() || self.options.rejected.is_some();
        if !asked || self.options.force_refresh || self.machine.endpoint.origin() != MachineSource::ServiceFabric
        {
            return None;
        }
        let cached = TokenHash::of(&self.machine.cache.kept(&self.key(None))?.body().secret);
        self.options.rejected.is_none_or(|rejected| rejected == cached).then_some(cached)
    }

    async fn load(
        self,
        minted: Option<Arc<IssuedCertificate>>,
        replaces: Option<TokenHash>,
        correlation_id: CorrelationId,
    ) -> Result<Loaded, Error> {
        if !self.ahead
            && let Some(landed) = self.landed(minted.as_deref()).await
        {
            return Ok(landed);
        }
        let Some(minted) = minted else {
            let landed = self.plain(replaces, correlation_id).await.map_err(blame(None))?;
            self.machine.cache.keep(&landed.held, self.machine.clock.now());
            return Ok(landed);
        };
        let landed = match self.bound(&minted, correlation_id).await {
            // The certificate is blamed: one other is tried, once.
            Err(error) => {
                let minted = self.machine.instead_of(&minted, error, None, correlation_id).await?;
                self.bound(&minted, correlation_id).await?
            }
            Ok(landed) => landed,
        };
        self.machine.cache.keep(&landed.held, self.machine.clock.now());
        Ok(landed)
    }

    /// The token that is there after all: by a flight that just ended, or in the store.
    async fn landed(&self, minted: Option<&IssuedCertificate>) -> Option<Loaded> {
        let (machine, key) = (&self.machine, self.key(minted));
        if self.options.skip_cache() {
            return None;
        }
        let landed = machine.cache.landed(&key, machine.clock.now());
        if let Some(landed) = landed.filter(|landed| !self.options.rejects(&landed.held)) {
            return Some(landed);
        }
        let certificate = minted.map(|minted| &minted.binding);
        let wanted = Wanted { key, certificate, transport: &machine.transport, origins: &machine.origins };
        machine.cache.load_from_store(wanted, |held| self.options.rejects(held), &*machine.clock).await
    }

    async fn plain(
        &self,
        replaces: Option<TokenHash>,
        correlation_id: CorrelationId,
    ) -> Result<Loaded, PlatformError> {
        let begun = self.machine.cache.begin();
        let before = self.machine.clock.monotonic();
        let answer = bearer::token(&self.machine, self.scope.resource(), replaces, correlation_id).await?;
        let took = self.machine.clock.monotonic().saturating_sub(before);
        let BearerAnswer { access_token, expires_at, refresh_at, .. } = answer;
        let origin = Origin {
            endpoint: self.machine.endpoint.base().into(),
            tenant: Box::default(),
            region: None,
            token_type: "Bearer".into(),
            binding_observed: false,
            by_resource: true,
            connections: Connections(Arc::clone(&self.machine.transport)),
        };
        let body = TokenBody {
            secret: access_token,
            origin: self.machine.origins.shared(origin),
            correlation_id,
            rare: None,
        };
        let life = Expiry::new(self.machine.clock.now(), expires_at, refresh_at, begun);
        let held = Entry::Bearer(Arc::new(CachedToken { key: self.key(None).to_key(), life, body, binding: () }));
        let report = Report { legs: Vec::new(), http: took, leg1: Duration::ZERO };
        Ok(Loaded { held, from: LoadedFrom::Service(Arc::new(report)) })
    }

    async fn bound(&self, minted: &IssuedCertificate, correlation_id: CorrelationId) -> Result<Loaded, Error> {
        let begun = self.machine.cache.begin();
        let reason = match (self.ahead, self.machine.cache.had(&self.key(Some(minted)))) {
            (true, _) => RefreshReason::Proactive,
            (false, _) if self.machine.cache.is_none() => RefreshReason::CacheDisabled,
            (false, true) => RefreshReason::Expired,
            (false, false) => RefreshReason::NoCachedToken,
        };
        let call =
            TokenCall { machine: &self.machine, minted, leg: None, options: &self.options, correlation_id };
        let (token, leg) = call.send(self.scope.as_str(), reason).await?;
        let endpoint = &minted.endpoint;
        let origin = Origin {
            endpoint: endpoint.url().into(),
            tenant: endpoint.tenant().map_or_else(Box::default, |tenant| tenant.as_str().into()),
            region: endpoint.region().cloned(),
            token_type: token.token_type.as_str().into(),
            binding_observed: token.binding_observed,
            by_resource: false,
            connections: Connections(Arc::clone(&self.machine.transport)),
        };
        let (life, body) = token.stored(begun, self.machine.origins.shared(origin), correlation_id);
        let binding = minted.binding.clone();
        let key = self.key(Some(minted)).to_key_of(Some(&minted.binding));
        let report = Report { http: leg.took, legs: vec![leg], leg1: Duration::ZERO };
        let held = Entry::Bound(Arc::new(CachedToken { key, life, body, binding }));
        Ok(Loaded { held, from: LoadedFrom::Service(Arc::new(report)) })
    }

    pub(super) fn key<'a>(&'a self, minted: Option<&IssuedCertificate>) -> KeyRef<'a> {
        KeyRef {
            head: KeyHead::new(&self.machine.cache_key, self.kind, &self.scope),
            thumbprint: minted.map(|minted| minted.binding.thumbprint()),
            extras: None,
        }
    }
}

fn blames(error: &Error) -> bool {
    blame_of(error).is_some()
}
