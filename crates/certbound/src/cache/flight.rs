//! Single flight: however many wait for one token, one request is made.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};

use super::key::CacheKey;
use crate::error::Error;
use crate::rejected::TokenHash;
use crate::token::Held;

type Load = Pin<Box<dyn Future<Output = Result<Held, Error>> + Send>>;

/// What one flight is for: the token, and what else makes its request different.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    pub(crate) token: CacheKey,
    pub(crate) claims: Option<String>,
    pub(crate) forced: bool,
    /// The token that the service is told to replace: who names none may be given that one again.
    pub(crate) replaces: Option<TokenHash>,
}

/// Requests under way. The lock is held to look up and to register, never while anything is awaited.
///
/// A flight is a shared future: whoever waits for it drives it, so a caller that gives up strands nobody, and when the
/// last one gives up the request is dropped with it.
#[derive(Default)]
pub(crate) struct Flights {
    under_way: Mutex<HashMap<FlightKey, WeakShared<Load>>>,
}

impl Flights {
    /// Waits for the flight of `key`, starting it with `load` if none is under way; tells whether it was joined.
    pub(crate) async fn fly(
        &self,
        key: FlightKey,
        load: impl FnOnce() -> Load,
    ) -> (Result<Held, Error>, bool) {
        let (flight, joined) = self.board(&key, load);
        let _landing = Landing { flights: self, key: &key };
        (flight.await, joined)
    }

    fn board(&self, key: &FlightKey, load: impl FnOnce() -> Load) -> (Shared<Load>, bool) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get(key).and_then(WeakShared::upgrade) {
            // One that has already ended stays visible until its last waiter is gone; a later caller starts anew.
            if flight.peek().is_none() {
                return (flight, true);
            }
        }
        let flight = load().shared();
        // Just made and not yet polled, so it can always be downgraded.
        if let Some(weak) = flight.downgrade() {
            under_way.insert(key.clone(), weak);
        }
        (flight, false)
    }
}

/// Takes the flight off the list when it has ended or nobody waits for it any more, also when its waiter is cancelled.
struct Landing<'a> {
    flights: &'a Flights,
    key: &'a FlightKey,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let still_flying = under_way
            .get(self.key)
            .and_then(WeakShared::upgrade)
            .is_some_and(|flight| flight.peek().is_none());
        if !still_flying {
            under_way.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certbound_core::authority::Authority;
    use certbound_core::environment::Cloud;
    use certbound_core::scope::ResourceScope;
    use certbound_core::tenant::TenantId;

    use super::*;
    use crate::cache::key::{ClientKey, KeyRef};
    use crate::error::Misuse;
    use crate::token::Kind;

    fn key() -> FlightKey {
        let authority = Authority::public(TenantId::parse("contoso.example").unwrap());
        let client = ClientKey::new(Some(&authority), &Arc::from("app"), "certificate", &[]);
        let scope = ResourceScope::key_vault(Cloud::Public);
        let key =
            KeyRef { client: &client, kind: Kind::Bound, thumbprint: None, scope: &scope, extras: None };
        FlightKey { token: key.to_key(), claims: None, forced: false, replaces: None }
    }

    fn fails() -> Load {
        Box::pin(std::future::ready(Err(Error::misuse(None, Misuse::ForceAndRejected))))
    }

    /// Else the list would grow with every token that was ever asked for.
    #[tokio::test]
    async fn a_flight_that_ended_or_was_left_is_not_on_the_list() {
        let flights = Flights::default();
        let count = || flights.under_way.lock().unwrap().len();
        assert!(flights.fly(key(), fails).await.0.is_err());
        assert_eq!(count(), 0);
        {
            let mut left = std::pin::pin!(flights.fly(key(), || Box::pin(std::future::pending())));
            assert!(futures_util::poll!(&mut left).is_pending());
            assert_eq!(count(), 1);
            // One of two leaves: whoever is left still flies.
            let mut other = Box::pin(flights.fly(key(), fails));
            assert!(futures_util::poll!(&mut other).is_pending());
            drop(other);
            assert_eq!(count(), 1);
        }
        assert_eq!(count(), 0);
    }
}
