//! The keys of one issuer over time. The verifier refreshes them in the background. If a refresh fails, the verifier
//! uses the old keys up to an age of 24 hours.

mod discovery;
mod schedule;
mod source;
mod status;

use std::sync::Arc;

use certbound_core::time::UnixTime;

use self::source::Source;
pub use self::status::{KeyState, KeyStatus};
use crate::clock::Clock;
use crate::fetch::AnyFetch;
use crate::issuer::{Issuer, KeySet};
use crate::observe::Observer;
use crate::refusal::Refusal;

/// The source of an issuer's keys.
pub(crate) enum Keys {
    Fixed(Snapshot),
    Fetched(Arc<Source>),
}

/// The keys of an issuer at one time.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) keys: Arc<KeySet>,
    /// Each change of the keys changes this number.
    pub(crate) generation: u64,
}

impl Keys {
    pub(crate) fn fixed(keys: KeySet) -> Self {
        Self::Fixed(Snapshot { keys: Arc::new(keys), generation: 0 })
    }

    pub(crate) fn fetched(
        issuer: &Issuer,
        fetch: Arc<dyn AnyFetch>,
        clock: Arc<dyn Clock>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        Self::Fetched(Arc::new(Source::new(issuer, fetch, clock, observer)))
    }

    /// Copies the keys of an earlier verifier, if both verifiers read the same documents and accept the same keys.
    pub(crate) fn adopt(&self, other: &Self) {
        if let (Self::Fetched(own), Self::Fetched(other)) = (self, other) {
            own.adopt(other);
        }
    }

    /// Starts a fetch if the keys are missing or due for a refresh.
    pub(crate) fn refresh(&self) {
        if let Self::Fetched(source) = self {
            source.refresh();
        }
    }

    pub(crate) fn status(&self, issuer: &Issuer) -> KeyStatus {
        match self {
            Self::Fixed(_) => KeyStatus { issuer: issuer.id().to_owned(), state: KeyState::Fixed },
            Self::Fetched(source) => source.status(),
        }
    }

    /// Returns the keys for the decision about a token, and fetches them if necessary. `has` returns whether a set has
    /// the token's key.
    ///
    /// `may_fetch` is false for a token that would be refused with every key. This token starts no fetch and waits for
    /// no fetch.
    ///
    /// # Errors
    /// [`Refusal::KeysUnavailable`] if there are no usable keys, or if the token's key is unknown and the last fetch
    /// failed or takes too long.
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

    /// Whether a decision that was made with the keys of `generation` is still valid. The method refreshes the keys in
    /// the background as [`Keys::current`] does. This check takes no lock while no fetch is due.
    pub(crate) fn is_current(&self, generation: u64, now: UnixTime, may_fetch: bool) -> bool {
        match self {
            Self::Fixed(snapshot) => snapshot.generation == generation,
            Self::Fetched(source) => source.is_current(generation, now, may_fetch),
        }
    }
}
