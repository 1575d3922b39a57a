//! A cache miss: one request for all callers that wait for the same token, and older tokens during an outage.

use std::sync::{Arc, Weak};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use futures_util::future::{Either, select};
use tracing::Instrument as _;

use super::load_key::LoadKey;
use super::single_flight::Load;
use super::{Counted, Entry, Loaded, Obtained, Payload, TokenCache};
use crate::background::Background;
use crate::clock::Clock;
use crate::error::Error;
use crate::span;

/// The maximum wait of a caller for the issuer, while an older token is still valid.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The inputs of the cache for finding or loading a token.
pub(crate) struct LoadRequest {
    pub(crate) key: LoadKey,
    /// Returns the thumbprints of the earlier certificates, newest first. This field is a function because the list can
    /// change during a load.
    pub(crate) earlier: Box<dyn Fn() -> Vec<Thumbprint> + Send + Sync>,
    /// Whether an error blames the certificate. If a new certificate is not registered at the service yet, tokens of
    /// earlier certificates remain usable.
    pub(crate) blames: fn(&Error) -> bool,
    pub(crate) clock: Arc<dyn Clock>,
    /// The owner of a load that continues after the return of an older token.
    pub(crate) background: Weak<Background>,
    pub(crate) payload: Payload,
}

impl TokenCache {
    /// Returns a fresh token, or else the token of [`TokenCache::stand_in`]. The result is `None` if the request
    /// ignores the cache or rejects the cached token. The second value is true if the caller must start a refresh.
    pub(crate) fn get(&self, request: &LoadRequest) -> Option<(Entry, bool)> {
        let (key, token, now) = (&request.key, request.key.token.as_ref(), request.clock.now());
        if key.skips_cache() || self.any(&token).is_some_and(|entry| key.rejects(&entry)) {
            return None;
        }
        // A bound token expires no later than its certificate, so the certificate of a fresh token is valid.
        match self.fresh(&token, now) {
            None if !key.wants_new() => self.stand_in(&token, &(request.earlier)(), now),
            fresh => fresh,
        }
    }

    /// Waits for the running request for the token, or else for `load`. Returns an unexpired older token, if the issuer
    /// is unavailable, does not answer for two seconds, or refuses a new certificate. If the caller demands a new
    /// token, the function never returns an older token.
    ///
    /// # Errors
    /// The error of the load.
    pub(crate) async fn load(
        &self,
        request: LoadRequest,
        load: Load<Result<Loaded, Error>>,
    ) -> Result<Loaded, Error> {
        self.count(Counted::Miss);
        let LoadRequest { key, earlier, blames, clock, background, payload } = request;
        let (token, wants_new) = (key.token.clone(), key.wants_new());
        let older_token = |now| match wants_new {
            true => None,
            false => self.in_outage(&token.as_ref(), &earlier(), now),
        };
        // The store can have an older token too. The load reads the store before it sends a request.
        let has_older = !wants_new
            && (self.store().is_some() || self.usable(&token.as_ref(), &earlier(), clock.now()).is_some());
        let span = span::cache_load();
        let attempt =
            self.clone().find_or_load(key, payload, Arc::clone(&clock), load).instrument(span.clone());
        let (loaded, joined) = if !has_older {
            attempt.await
        } else {
            match select(Box::pin(attempt), clock.wait(MAX_WAIT)).await {
                Either::Left((loaded, _)) => loaded,
                Either::Right(((), attempt)) => match older_token(clock.now()) {
                    None => attempt.await,
                    Some(entry) => {
                        let served = entry.clone();
                        Background::spawn(&background, async move {
                            if let (Err(error), _) = attempt.await {
                                tracing::warn!(%error, "a token that expires soon could not be replaced yet");
                                served.extend_after(&error, &token, blames, clock.now());
                            }
                        });
                        return Ok((entry, Obtained::FROM_CACHE));
                    }
                },
            }
        };
        span.record("certbound.joined", joined);
        if joined {
            self.count(Counted::Joined);
        }
        match loaded {
            Ok((entry, obtained)) => Ok((entry, if joined { obtained.joined() } else { obtained })),
            Err(error) if error.is_transient() => {
                let entry = older_token(clock.now()).ok_or(error)?;
                Ok((entry, Obtained::FROM_CACHE))
            }
            Err(error) if blames(&error) && !wants_new => {
                let now = clock.now();
                let entry = self.of_earlier(&token.as_ref(), &earlier(), now);
                let Some(entry) = entry.filter(|entry| entry.expiry.extend(now)) else { return Err(error) };
                self.count(Counted::InOutage);
                tracing::warn!(%error, "a token of an earlier certificate is returned");
                Ok((entry, Obtained::FROM_CACHE))
            }
            Err(error) => Err(error),
        }
    }

    /// Requests a new token while the cache returns the old token. If the request fails, the function calls
    /// [`Entry::extend_after`] for the old token.
    ///
    /// # Errors
    /// The error of the load.
    pub(crate) async fn refresh(
        &self,
        request: LoadRequest,
        load: Load<Result<Loaded, Error>>,
    ) -> Result<(), Error> {
        let LoadRequest { key, earlier, blames, clock, .. } = request;
        let token = key.token.clone();
        // The old token is looked up before the request: a token that is cached in the meantime has its own times.
        let served = self.usable(&token.as_ref(), &earlier(), clock.now());
        let cache = self.clone();
        let refreshing = Arc::clone(&clock);
        let load = move || -> Load<Result<Loaded, Error>> {
            cache.count(Counted::Refresh);
            Box::pin(cache.load_and_keep(refreshing, load))
        };
        let (loaded, joined) = self.share(key, load).await;
        if let Err(error) = loaded {
            if !joined {
                self.count(Counted::FailedRefresh);
            }
            if let Some(served) = served {
                served.extend_after(&error, &token, blames, clock.now());
            }
            return Err(error);
        }
        Ok(())
    }

    /// Looks for the token again before it starts `load`: another load may have ended in the meantime, or the store may
    /// contain the token.
    async fn find_or_load(
        self,
        key: LoadKey,
        payload: Payload,
        clock: Arc<dyn Clock>,
        load: Load<Result<Loaded, Error>>,
    ) -> (Result<Loaded, Error>, bool) {
        let (cache, found) = (self.clone(), key.clone());
        let load = move || -> Load<Result<Loaded, Error>> {
            Box::pin(async move {
                let before = clock.monotonic();
                if let Some(loaded) = cache.find(&found, &payload, &*clock).await {
                    return Ok(loaded);
                }
                let in_cache = clock.monotonic().saturating_sub(before);
                let (entry, obtained) = cache.load_and_keep(clock, load).await?;
                Ok((entry, obtained.after_lookup(in_cache)))
            })
        };
        self.share(key, load).await
    }

    async fn find(&self, key: &LoadKey, payload: &Payload, clock: &dyn Clock) -> Option<Loaded> {
        if key.skips_cache() {
            return None;
        }
        let loaded = self.loaded_meanwhile(&key.token.as_ref(), clock.now());
        match loaded.filter(|(entry, _)| !key.rejects(entry)) {
            Some(loaded) => Some(loaded),
            None => self.load_from_store(key, payload, clock).await,
        }
    }

    async fn load_and_keep(
        self,
        clock: Arc<dyn Clock>,
        load: Load<Result<Loaded, Error>>,
    ) -> Result<Loaded, Error> {
        let loaded = load.await?;
        self.keep(&loaded.0, clock.now());
        Ok(loaded)
    }

    /// Runs one load for all callers that wait for the same token. The second value is true if another caller started
    /// the load.
    async fn share(
        &self,
        key: LoadKey,
        load: impl FnOnce() -> Load<Result<Loaded, Error>>,
    ) -> (Result<Loaded, Error>, bool) {
        let (loaded, joined) = self.inner.loads.run(key, load).await;
        let loaded = loaded.unwrap_or_else(|failure| Err(Error::provider(None, failure.into())));
        (loaded, joined)
    }
}
