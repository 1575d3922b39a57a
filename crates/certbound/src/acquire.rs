//! Start here: the whole flow, one line per station.
//!
//! ```text
//!  certificate ─► cache ─► endpoint ─► proof ─► request ─► transport ─► answer ─► token ─► cache
//!                                        │
//!                                        └─ in Leg 2 this runs Leg 1, which is the same walk
//! ```

mod leg1;
mod options;
mod station;

use std::sync::Arc;

use certbound_core::endpoint::{Channel, Flow};
use certbound_core::request::TokenRequest;

pub use self::leg1::AcquireLeg1;
pub(crate) use self::options::CloneableProves;
pub(crate) use self::options::Options;
pub use self::options::{Acquire, AcquireFuture};
use self::station::Fetched;
use crate::binding::Binding;
use crate::cache::flight::FlightKey;
use crate::cache::key::KeyRef;
use crate::client::ClientCore;
use crate::credential::{Proof, Proves};
use crate::error::{Error, Leg, Misuse};
use crate::token::{Held, Kind, Source};

/// One acquisition, with everything it needs, so that it can outlive its caller.
#[derive(Clone)]
pub(crate) struct Acquisition {
    pub(crate) client: Arc<ClientCore>,
    pub(crate) credential: Arc<dyn Proves>,
    pub(crate) kind: Kind,
    pub(crate) scope: certbound_core::scope::ResourceScope,
    pub(crate) options: Options,
}

impl Acquisition {
    /// A live token: from the cache, from another's flight, or from the service.
    pub(crate) async fn run(self) -> Result<(Held, Source), Error> {
        self.options.check().map_err(|misuse| self.blame(misuse))?;
        let binding = self.credential.binding().await?; // the certificate, chosen once: cache key, TLS, token
        let key = self.key(&binding);
        if let Some(held) = self.cached(&key) {
            return Ok((held, Source::Cache));
        }
        let flight = FlightKey {
            token: key.to_key(),
            claims: self.options.claims.clone(),
            forced: self.options.force_refresh || self.options.rejected.is_some(),
        };
        let flights = self.client.cache.clone();
        let load =
            move || -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> { Box::pin(self.load(binding)) };
        let (held, joined) = flights.flights().fly(flight, load).await;
        Ok((held?, if joined { Source::Joined } else { Source::Service }))
    }

    /// The cached token, unless the options ask for a new one.
    fn cached(&self, key: &KeyRef<'_>) -> Option<Held> {
        if self.options.skip_cache() {
            return None;
        }
        // No token outlives its certificate, so a live token says that the certificate is valid too.
        self.client.cache.live(key, self.client.clock.now()).filter(|held| !self.options.rejects(held))
    }

    /// Fetches a token and stores it. A certificate that changed on the way is given one restart.
    async fn load(self, binding: Binding) -> Result<Held, Error> {
        let (binding, fetched) = match self.fetch(&binding).await {
            Err(Error::Misuse { what: Misuse::BindingChanged { .. }, .. }) => {
                let binding = self.credential.binding().await?;
                let fetched = self.fetch(&binding).await?;
                (binding, fetched)
            }
            result => (binding, result?),
        };
        let held = fetched.into_held(&self, &binding);
        self.client.cache.put(self.key(&binding).to_key(), held.clone());
        Ok(held)
    }

    /// One request to the token service: the walk itself.
    async fn fetch(&self, binding: &Binding) -> Result<Fetched, Error> {
        binding.valid_at(self.client.clock.now()).map_err(|misuse| self.blame(misuse))?;
        let authority = self.options.authority(&self.client.authority);
        let presents = self.credential.presents(self.kind);
        let channel = if presents { Channel::MutualTls } else { Channel::Plain };
        let endpoint =
            authority.token_endpoint(Flow::ClientCredentials, channel).map_err(|error| self.blame(error))?;

        let asked = self.options.assertion_request(&self.client, &authority, &endpoint);
        let before_proof = self.client.clock.monotonic();
        let now = self.client.clock.now();
        let proof = self.credential.proof(binding, self.kind, &asked, now).await?; // in Leg 2 this runs Leg 1
        let in_leg1 = self.client.clock.monotonic().saturating_sub(before_proof);
        self.accept_proof(&proof, binding)?;

        let claims =
            self.options.merged_claims(&self.client.capabilities).map_err(|misuse| self.blame(misuse))?;
        let request = TokenRequest {
            client_id: &self.client.client_id,
            proof: station::wire_proof(&proof),
            scope: self.scope.as_str(),
            bound: self.kind == Kind::Bound,
            claims: claims.as_deref(),
            fmi_path: self.options.fmi_path(),
        };
        let sent = station::Sent {
            client: &self.client,
            leg: self.leg(),
            endpoint: &endpoint,
            kind: self.kind,
            presents: presents.then_some(binding),
            correlation_id: asked.correlation_id,
            options: &self.options,
        };
        let answer = sent.exchange(&request).await;
        if let Err(Error::Refused { .. }) = &answer {
            self.credential.refused();
        }
        let (response, in_http) = answer?;
        let token = station::accept(response, &request, binding, self.leg(), self.client.clock.now())?;
        Ok(Fetched { token, endpoint, tenant: authority.tenant().clone(), proof, asked, in_leg1, in_http })
    }

    /// The assertion must be bound to the certificate this acquisition began with, and still be alive.
    fn accept_proof(&self, proof: &Proof, binding: &Binding) -> Result<(), Error> {
        let Proof::Bound(assertion) = proof else { return Ok(()) };
        if assertion.binding() != binding {
            let (expected, found) = (binding.thumbprint(), assertion.binding().thumbprint());
            return Err(self.blame(Misuse::BindingChanged { expected, found }));
        }
        assertion.alive_at(self.client.clock.now()).map_err(|misuse| self.blame(misuse))
    }

    fn key(&self, binding: &Binding) -> KeyRef<'_> {
        KeyRef {
            client: &self.client.cache_key,
            kind: self.kind,
            thumbprint: Some(binding.thumbprint()),
            scope: &self.scope,
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
