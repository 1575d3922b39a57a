//! The keys of one issuer over time: fetched, refreshed in the background, kept for a while when they cannot be.

mod discovery;
mod schedule;
mod source;

use std::sync::Arc;

use certbound_core::time::UnixTime;

use self::source::Source;
use crate::clock::Clock;
use crate::fetch::AnyFetch;
use crate::issuer::Issuer;
use crate::key_set::KeySet;
use crate::refusal::Refusal;

/// Where the keys of an issuer come from.
pub(crate) enum Keys {
    Fixed(Snapshot),
    Fetched(Arc<Source>),
}

/// The keys of an issuer at one time.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) keys: Arc<KeySet>,
    /// Changes whenever the keys do.
    pub(crate) generation: u64,
}

impl Keys {
    pub(crate) fn fixed(keys: KeySet) -> Self {
        Self::Fixed(Snapshot { keys: Arc::new(keys), generation: 0 })
    }

    pub(crate) fn fetched(issuer: &Issuer, fetch: Arc<dyn AnyFetch>, clock: Arc<dyn Clock>) -> Self {
        Self::Fetched(Arc::new(Source::new(issuer, fetch, clock)))
    }

    /// The keys to judge a token by, fetched if need be. `has` tells whether a set has the token's key.
    ///
    /// A token that is refused whatever its key is (`may_fetch` is false) causes no fetch and waits for none.
    ///
    /// # Errors
    /// [`Refusal::KeysUnavailable`]
    pub(crate) async fn current(
        &self,
        may_fetch: bool,
        has: impl Fn(&Snapshot) -> bool,
    ) -> Result<Snapshot, Refusal> {
        match self {
            Self::Fixed(snapshot) => Ok(snapshot.clone()),
            Self::Fetched(source) => source.current(may_fetch, has).await,
        }
    }

    /// Whether a decision made with the keys of `generation` still stands. Refreshes the keys in the background as
    /// [`Keys::current`] does. Takes no lock while there is nothing to decide.
    pub(crate) fn vouch(&self, generation: u64, now: UnixTime, may_fetch: bool) -> bool {
        match self {
            Self::Fixed(snapshot) => snapshot.generation == generation,
            Self::Fetched(source) => source.vouch(generation, now, may_fetch),
        }
    }
}
