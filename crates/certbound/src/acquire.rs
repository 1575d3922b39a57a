//! Start here: the whole flow, one line per station.
//!
//! ```text
//!  certificate ─► cache ─► authority ─► endpoint ─► proof ─► request ─► transport ─► answer ─► token ─► cache
//!                                                     │
//!                                                     └─ in Leg 2 this runs Leg 1, which is the same walk
//! ```

pub(crate) mod accept;
mod authority;
mod claims;
mod client_core;
pub(crate) mod discovery;
pub(crate) mod endpoints;
pub(crate) mod headers;
mod options;
mod refresh;
mod settings;
pub(crate) mod station;

use std::sync::Arc;

use certbound_core::endpoint::Channel;
use certbound_core::request::TokenRequest;
use certbound_core::time::UnixTime;

use self::accept::Expected;
pub(crate) use self::client_core::ClientCore;
use self::headers::RefreshReason;
pub use self::options::{Acquire, AcquireFuture};
pub(crate) use self::options::{CloneableProves, hit_of_prepared};
pub(crate) use self::settings::Options;
use self::station::Fetched;
use crate::cache::flight::{FlightKey, Load};
use crate::cache::key::{KeyHead, KeyRef};
use crate::cache::{Came, Entry, Kind, Loaded, Miss, Wanted};
use crate::certificate::{Binding, Blame, is_blamed};
use crate::correlation::CorrelationId;
use crate::credential::{Proof, Proves};
use crate::error::{Error, Leg, Misuse};

/// One acquisition, with everything it needs, so that it can outlive its caller.
#[derive(Clone)]
pub(crate) struct Acquisition {
    pub(crate) client: Arc<ClientCore>,
    pub(crate) credential: Arc<dyn Proves>,
    pub(crate) kind: Kind,
    pub(crate) scope: certbound_core::scope::ResourceScope,
    pub(crate) options: Options,
    /// Whether this is a refresh in the background, while the token that it replaces is still valid.
    pub(crate) ahead: bool,
}

impl Acquisition {
    /// A live token: from the cache, from another's flight, or from the service.
    pub(crate) async fn run(self) -> Result<(Entry, Came), Error> {
        self.options.check().map_err(|misuse| self.blame(misuse))?;
        // The certificate, chosen once: cache key, TLS, token.
        let certificate = self.credential.certificate().await?;
        let key = self.key(certificate.as_ref());
        if let Some(held) = self.cached(&key) {
            return Ok((held, Came::FROM_CACHE));
        }
        let credential = Arc::clone(&self.credential);
        let miss = Miss {
            flight: self.flight(&key),
            wants_new: self.options.wants_new(),
            earlier: move || credential.earlier(),
            blames: is_blamed,
            clock: Arc::clone(&self.client.clock),
            background: self.client.background.clone(),
        };
        let cache = self.client.cache.clone();
        cache.acquire(miss, move || -> Load { Box::pin(self.load(certificate)) }).await
    }

    fn flight(&self, key: &KeyRef<'_>) -> FlightKey {
        FlightKey {
            token: key.to_key(),
            claims: self.options.claims.clone(),
            forced: self.options.force_refresh,
            rejected: self.options.rejected,
            replaces: None,
        }
    }

    /// The cached token, unless the options ask for a new one.
    fn cached(&self, key: &KeyRef<'_>) -> Option<Entry> {
        let cache = &self.client.cache;
        if self.options.skip_cache() || cache.kept(key).is_some_and(|held| self.options.rejects(&held)) {
            return None;
        }
        let now = self.client.clock.now();
        // No token outlives its certificate, so a live token says that the certificate is valid too.
        let (held, refresh) = match cache.live(key, now) {
            None if !self.options.wants_new() => cache.stand_in(key, &self.credential.earlier(), now)?,
            live => live?,
        };
        if refresh {
            self.clone().refresh_ahead();
        }
        Some(held)
    }

    /// Fetches a token and stores it. A certificate that changed on the way, or is refused and has a successor, is given one
    /// restart.
    async fn load(self, certificate: Option<Binding>) -> Result<Loaded, Error> {
        let cache = &self.client.cache;
        if !self.ahead
            && let Some(landed) = self.landed(certificate.as_ref()).await
        {
            return Ok(landed);
        }
        let (certificate, fetched) = match self.fetch(certificate.as_ref()).await {
            Err(error) if self.begins_anew(&error, certificate.as_ref()).await? => {
                let certificate = self.credential.certificate().await?;
                let fetched = self.fetch(certificate.as_ref()).await?;
                (certificate, fetched)
            }
            result => (certificate, result?),
        };
        let landed = fetched.land(&self, certificate.as_ref())?;
        cache.keep(&landed.held, self.client.clock.now());
        Ok(landed)
    }

    /// The token that is there after all: by a flight that just ended, or in the store.
    async fn landed(&self, certificate: Option<&Binding>) -> Option<Loaded> {
        let (client, key) = (&self.client, self.key(certificate));
        if self.options.skip_cache() {
            return None;
        }
        let landed = client.cache.landed(&key, client.clock.now());
        if let Some(landed) = landed.filter(|landed| !self.options.rejects(&landed.held)) {
            return Some(landed);
        }
        let wanted = Wanted { key, certificate, transport: &client.transport, origins: &client.origins };
        client.cache.load_from_store(wanted, |held| self.options.rejects(held), &*client.clock).await
    }

    /// Whether there is another certificate than the one that `error` is about.
    async fn begins_anew(&self, error: &Error, certificate: Option<&Binding>) -> Result<bool, Error> {
        if let Error::Misuse { what: Misuse::BindingChanged { .. }, .. } = error {
            return Ok(true);
        }
        let (Some(binding), Some(blame)) = (certificate, Blame::of(error)) else { return Ok(false) };
        // What Leg 1 was told may be of another certificate than this one, and it knows of which.
        let blame = if error.leg() == self.leg() { blame } else { Blame::Suspected };
        self.credential.replace(binding, blame).await
    }

    /// One request to the token service: the walk itself.
    async fn fetch(&self, certificate: Option<&Binding>) -> Result<Fetched, Error> {
        let bound = self.kind == Kind::Bound;
        let begun = self.client.cache.begin();
        match certificate {
            Some(binding) => {
                binding.valid_at(self.client.clock.now()).map_err(|misuse| self.blame(misuse))?
            }
            None if bound => return Err(self.blame(Misuse::CertificateNotProvided)),
            None => {}
        }
        let correlation_id = self.options.correlation_id.unwrap_or_else(CorrelationId::random);
        let authority = self.authority(correlation_id).await?;
        let presents = certificate.filter(|_| self.credential.presents(self.kind));
        let channel = if presents.is_some() { Channel::MutualTls } else { Channel::Plain };
        let flow = self.options.flow();
        let endpoint = self.client.endpoints.of(&authority, flow, channel);
        let endpoint = endpoint.map_err(|error| self.blame(error))?;
        if bound {
            let by_certificate = self.leg().is_none();
            authority.check_binding(by_certificate).map_err(|error| self.blame(error))?;
        }

        let asked = self.options.assertion_request(&self.client, &authority, &endpoint, correlation_id);
        let before_proof = self.client.clock.monotonic();
        let now = self.client.clock.now();
        let proof = self.credential.proof(certificate, self.kind, &asked, now).await?; // in Leg 2 this runs Leg 1
        let in_leg1 = self.client.clock.monotonic().saturating_sub(before_proof);
        // The token may be as old as this.
        let sent_at = self.client.clock.now();
        self.accept_proof(&proof, certificate, sent_at)?;

        let claims =
            self.options.merged_claims(&self.client.capabilities).map_err(|misuse| self.blame(misuse))?;
        let request = TokenRequest {
            client_id: &self.client.client_id,
            grant: self.options.grant(),
            proof: station::wire_proof(&proof),
            scope: self.scope.as_str(),
            bound: bound && authority.kind().speaks_mtls_pop(),
            claims: claims.as_deref(),
            fmi_path: self.options.extras.fmi_path.as_deref(),
            extra: &self.options.extras.body,
        };
        let sent = station::Sent {
            transport: &*self.client.transport,
            clock: &*self.client.clock,
            leg: self.leg(),
            endpoint: &endpoint,
            kind: self.kind,
            api: headers::api(flow),
            presents,
            correlation_id,
            reason: self.reason(certificate),
            options: &self.options,
        };
        let answer = sent.exchange(&request).await;
        if let Err(Error::Refused { .. }) = &answer {
            self.credential.refused();
        }
        let (response, in_http) = answer?;
        let expected = Expected {
            binding: certificate.filter(|_| bound),
            leg: self.leg(),
            demands_observed: self.client.cache_key.demands_observed(),
            ignores_case: authority.kind().ignores_case(),
            sent_at,
        };
        let token = accept::accept(response, &request, expected, self.client.clock.now())?;
        let tenant = authority.tenant().cloned();
        Ok(Fetched { begun, token, endpoint, tenant, proof, asked, in_leg1, in_http })
    }

    /// The assertion must be bound to the certificate this acquisition began with, and still be alive.
    fn accept_proof(&self, proof: &Proof, certificate: Option<&Binding>, now: UnixTime) -> Result<(), Error> {
        let Proof::Bound(assertion) = proof else { return Ok(()) };
        let Some(binding) = certificate else { return Err(self.blame(Misuse::CertificateNotProvided)) };
        if assertion.binding() != binding {
            let (expected, found) = (binding.thumbprint(), assertion.binding().thumbprint());
            return Err(self.blame(Misuse::BindingChanged { expected, found }));
        }
        assertion.alive_at(now).map_err(|misuse| self.blame(misuse))
    }

    /// Why the cache was not enough.
    fn reason(&self, certificate: Option<&Binding>) -> RefreshReason {
        let options = &self.options;
        if options.force_refresh || options.claims.is_some() || options.rejected.is_some() {
            RefreshReason::ForcedOrClaims
        } else if self.ahead {
            RefreshReason::Proactive
        } else if self.client.cache.is_none() {
            RefreshReason::CacheDisabled
        } else if self.client.cache.had(&self.key(certificate)) {
            RefreshReason::Expired
        } else {
            RefreshReason::NoCachedToken
        }
    }

    fn key<'a>(&'a self, certificate: Option<&Binding>) -> KeyRef<'a> {
        KeyRef {
            head: KeyHead::new(&self.client.cache_key, self.kind, &self.scope),
            thumbprint: certificate.map(Binding::thumbprint),
            extras: self.options.extras(),
        }
    }

    fn leg(&self) -> Option<Leg> {
        self.credential.leg()
    }

    fn blame(&self, misuse: impl Into<Misuse>) -> Error {
        Error::misuse(self.leg(), misuse)
    }
}
