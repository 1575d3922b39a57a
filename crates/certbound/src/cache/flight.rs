//! Single flight: however many wait for one token, one request is made.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};

use super::key::CacheKey;
use crate::error::Error;
use crate::token::Held;

type Load = Pin<Box<dyn Future<Output = Result<Held, Error>> + Send>>;

/// What one flight is for: the token, and what else makes its request different.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    pub(crate) token: CacheKey,
    pub(crate) claims: Option<String>,
    pub(crate) forced: bool,
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
