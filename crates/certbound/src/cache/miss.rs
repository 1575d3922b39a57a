//! Callers for whom the cache has nothing that is served without a question: they wait for the service, and while a token
//! still works not for long.

use std::sync::{Arc, Weak};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;
use futures_util::future::{Either, select};

use super::flight::{FlightKey, Load};
use super::key::{CacheKey, KeyRef};
use super::{Counted, TokenCache};
use crate::background::Background;
use crate::cache::{Came, Entry, Loaded};
use crate::clock::Clock;
use crate::error::Error;

/// How long a service that does not answer is waited for, while there is a token that still works.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked for, and what may be served instead while the service is away.
pub(crate) struct Miss<E> {
    pub(crate) flight: FlightKey,
    /// Only a new token will do.
    pub(crate) wants_new: bool,
    /// Certificates before the present one, newest first: their tokens are used with them. Another one may come while the
    /// service is waited for.
    pub(crate) earlier: E,
    /// Whether an error blames the certificate: one that the service does not know yet takes away no token of those before.
    pub(crate) blames: fn(&Error) -> bool,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whose work an attempt is that nobody waits for any more.
    pub(crate) background: Weak<Background>,
}

impl TokenCache {
    /// Waits for the token of a flight, which `load` begins if it is not under way. While the service fails or does not
    /// answer, a token that still works is served to its very end.
    ///
    /// # Errors
    /// What the flight ends with.
    pub(crate) async fn acquire(
        &self,
        miss: Miss<impl Fn() -> Vec<Thumbprint>>,
        load: impl FnOnce() -> Load + Send + 'static,
    ) -> Result<(Entry, Came), Error> {
        self.count(Counted::Miss);
        let Miss { flight, wants_new, earlier, blames, clock, background } = miss;
        let token = flight.token.clone();
        let instead = |now| match wants_new {
            true => None,
            false => self.in_outage(&token.as_ref(), &earlier(), now),
        };
        let (landed, joined) = match wants_new
            || self.lasting(&token.as_ref(), &earlier(), clock.now()).is_none()
        {
            true => self.inner.flights.fly(flight, load).await,
            false => {
                let cache = self.clone();
                // Owned, so that it can go on without its caller.
                let attempt = Box::pin(async move { cache.inner.flights.fly(flight, load).await });
                match select(attempt, clock.wait(PATIENCE)).await {
                    Either::Left((landed, _)) => landed,
                    Either::Right(((), attempt)) => match instead(clock.now()) {
                        None => attempt.await,
                        Some(held) => {
                            let (served, token) = (held.clone(), token.clone());
                            Background::spawn(&background, async move {
                                if let (Err(error), _) = attempt.await {
                                    tracing::warn!(%error, "a token could not be fetched in its last minutes yet");
                                    extend(Some(&served), &token, &error, (blames, clock.now()));
                                }
                            });
                            return Ok((held, Came::FROM_CACHE));
                        }
                    },
                }
            }
        };
        if joined {
            self.count(Counted::Joined);
        }
        match landed {
            Ok(Loaded { held, from }) => Ok((held, Came::by_flight(joined, from))),
            Err(error) if error.is_transient() => {
                let held = instead(clock.now()).ok_or(error)?;
                Ok((held, Came::FROM_CACHE))
            }
            Err(error) if blames(&error) && !wants_new => {
                let now = clock.now();
                let held = self.of_earlier(&token.as_ref(), &earlier(), now);
                let Some(held) = held.filter(|held| held.expiry().extend(now)) else { return Err(error) };
                self.count(Counted::InOutage);
                tracing::warn!(%error, "a token of an earlier certificate is served");
                Ok((held, Came::FROM_CACHE))
            }
            Err(error) => Err(error),
        }
    }

    /// Fetches the token for `flight` while its predecessor serves, which it goes on to do while the service is away.
    pub(crate) async fn refresh(
        &self,
        flight: FlightKey,
        earlier: &[Thumbprint],
        blames: fn(&Error) -> bool,
        load: impl FnOnce() -> Load,
        clock: &dyn Clock,
    ) -> Result<(), Error> {
        // Not one that comes meanwhile: its own time is not that of this refresh.
        let served = self.lasting(&flight.token.as_ref(), earlier, clock.now());
        let token = flight.token.clone();
        // One that another has begun is his.
        let load = || {
            self.count(Counted::Refresh);
            load()
        };
        let (landed, joined) = self.inner.flights.fly(flight, load).await;
        if let Err(error) = landed {
            if !joined {
                self.count(Counted::FailedRefresh);
            }
            extend(served.as_ref(), &token, &error, (blames, clock.now()));
            return Err(error);
        }
        Ok(())
    }

    /// A token of an earlier certificate that is served without a question, since the last attempt to have one of the
    /// present certificate failed or still does; and whether the caller is to begin another.
    pub(crate) fn stand_in(
        &self,
        key: &KeyRef<'_>,
        earlier: &[Thumbprint],
        now: UnixTime,
    ) -> Option<(Entry, bool)> {
        // Who begins no attempts in the background waits for one instead.
        let is_stand_in = |held: &Entry| self.inner.ahead && held.expiry().is_stand_in(now);
        let held = self.of_earlier(key, earlier, now).filter(is_stand_in)?;
        self.count(Counted::Hit);
        let retries = held.expiry().take_refresh(now);
        Some((held, retries))
    }

    /// The token for `key` while the service is away: to its very end. Without one, that of the newest certificate among
    /// `earlier` that has one, to be used with its own certificate.
    pub(crate) fn in_outage(&self, key: &KeyRef<'_>, earlier: &[Thumbprint], now: UnixTime) -> Option<Entry> {
        // One that came meanwhile needs no reprieve.
        let new = self.kept(key).filter(|held| held.expiry().is_fresh(now));
        let lasting = || self.lasting(key, earlier, now).filter(|held| held.expiry().extend(now));
        let held = new.or_else(lasting)?;
        self.count(Counted::InOutage);
        Some(held)
    }

    fn lasting(&self, key: &KeyRef<'_>, earlier: &[Thumbprint], now: UnixTime) -> Option<Entry> {
        let own = self.kept(key).filter(|held| held.expiry().is_usable(now));
        own.or_else(|| self.of_earlier(key, earlier, now))
    }

    fn of_earlier(&self, key: &KeyRef<'_>, earlier: &[Thumbprint], now: UnixTime) -> Option<Entry> {
        let of = |thumbprint: &Thumbprint| self.kept(&KeyRef { thumbprint: Some(*thumbprint), ..*key });
        earlier.iter().filter_map(of).find(|held| held.expiry().is_usable(now))
    }
}

/// The token could not be had: what was served meanwhile goes on to be, and the next attempt has time.
fn extend(
    served: Option<&Entry>,
    token: &CacheKey,
    error: &Error,
    (blames, now): (fn(&Error) -> bool, UnixTime),
) {
    let passes = |held: &&Entry| error.is_transient() || (blames(error) && held.key() != token);
    if let Some(held) = served.filter(passes) {
        held.expiry().extend(now);
    }
}
