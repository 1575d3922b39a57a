//! Which acquisitions are one: the key of a flight, and what it brings.

pub(crate) mod single;
mod sync;

use std::pin::pin;
use std::task::Poll;

use futures_util::poll;
use tokio::runtime::{Handle, Id};
use tracing::Instrument as _;

use self::single::{Flights as Single, Load as AnyLoad};
use super::key::CacheKey;
use crate::cache::Landed;
use crate::error::{Error, Misuse};
use crate::rejected::TokenHash;

/// What fetches a token.
pub(crate) type Load = AnyLoad<Result<Landed, Error>>;

/// What one flight is for: the token, and what else makes its request different.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    pub(crate) token: CacheKey,
    pub(crate) claims: Option<String>,
    pub(crate) forced: bool,
    /// The token that will not do: who rejects another one may be content with it.
    pub(crate) rejected: Option<TokenHash>,
    /// The token that the service is told to replace: who names none may be given that one again.
    pub(crate) replaces: Option<TokenHash>,
}

/// Requests under way.
#[derive(Default)]
pub(crate) struct Flights(Single<KeyOfRuntime, Result<Landed, Error>>);

type KeyOfRuntime = (FlightKey, Option<Id>);

/// A flight is of one runtime: its connection and its timers are, and what another one has begun may not be driven any more.
pub(crate) fn this_runtime() -> Option<Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

impl Flights {
    /// Waits for the flight of `key`, starting it with `load` if none is under way; tells whether it was joined.
    ///
    /// # Errors
    /// What the flight ends with, and `provider_panicked` when code of the caller's panicked in it: each to all who wait.
    pub(crate) async fn fly(
        &self,
        key: FlightKey,
        load: impl FnOnce() -> Load,
    ) -> (Result<Landed, Error>, bool) {
        let runtime = Handle::try_current().ok();
        let of = (key, runtime.as_ref().map(Handle::id));
        let mut boarded = pin!(self.0.board(of, load));
        let joined = boarded.joined();
        let landed = match poll!(boarded.as_mut()) {
            Poll::Ready(landed) => landed,
            Poll::Pending => {
                // From here on it goes on whether or not its callers are polled. Outside of a runtime they drive it.
                if !joined && let Some(runtime) = runtime {
                    runtime.spawn(boarded.driver().in_current_span());
                }
                boarded.await
            }
        };
        (landed.unwrap_or_else(|_| Err(Error::misuse(None, Misuse::ProviderPanicked))), joined)
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
    use crate::cache::Kind;
    use crate::cache::key::{ClientKey, KeyHead, KeyRef};
    use crate::error::Misuse;

    fn key() -> FlightKey {
        let authority = Authority::public(TenantId::parse("contoso.example").unwrap());
        let client = ClientKey::new(Some(&authority), &Arc::from("app"), "certificate", None, &[], false);
        let scope = ResourceScope::key_vault(Cloud::Public);
        let head = KeyHead::new(&client, Kind::Bound, &scope);
        let key = KeyRef { head, thumbprint: None, extras: None };
        FlightKey { token: key.to_key(), claims: None, forced: false, rejected: None, replaces: None }
    }

    fn fails() -> Load {
        Box::pin(std::future::ready(Err(Error::misuse(None, Misuse::ForceAndRejected))))
    }

    #[test]
    fn a_flight_is_not_shared_with_a_runtime_that_nobody_drives() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, other, flights) = (runtime(), runtime(), Flights::default());
        let mut left = Box::pin(flights.fly(key(), || Box::pin(std::future::pending())));
        one.block_on(async {
            assert!(futures_util::poll!(&mut left).is_pending());
            tokio::task::yield_now().await;
        });
        let (result, joined) = other.block_on(flights.fly(key(), fails));
        assert!(result.is_err() && !joined);
        drop(left);
    }

    /// Else the list would grow with every token that was ever asked for.
    #[tokio::test]
    async fn a_flight_that_ended_or_was_left_is_not_on_the_list() {
        let flights = Flights::default();
        let count = || flights.0.len();
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
