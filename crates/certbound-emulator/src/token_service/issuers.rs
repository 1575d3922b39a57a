//! The keys of external issuers. The caller fetches them over the network, and this module caches them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound_core::jws::UnverifiedJws;
use certbound_core::request::ReceivedForm;
use certbound_core::time::UnixTime;
use http::Request;
use serde_json::{Map, Value};

use crate::directory::Directory;
use crate::world::hosts::TOKEN_PATH;
use crate::world::{ExternalIssuer, World};

/// Keys are fetched again after this time.
const LIFETIME: Duration = Duration::from_secs(300);
/// After an unknown key or a failure, the keys are fetched again after this time at the earliest.
const PAUSE: Duration = Duration::from_secs(10);

type Jwk = Map<String, Value>;

/// The fetched keys of issuers whose keys the world does not contain.
#[derive(Default)]
pub(crate) struct FetchedKeys {
    known: Mutex<HashMap<String, Known>>,
    /// One lock for each issuer. A task holds the lock while it fetches the keys. Requests at the same time therefore
    /// cause only one fetch.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

struct Known {
    keys: Result<Vec<Jwk>, String>,
    /// The time when the keys were fetched.
    fetched: UnixTime,
    /// The time of the last fetch, including a failed fetch.
    asked: UnixTime,
}

impl FetchedKeys {
    /// Returns the issuer whose keys must be fetched for the decision on the request. Most requests need no fetch.
    pub(crate) fn wanted<'w, B: AsRef<[u8]>>(
        &self,
        world: &'w World,
        directory: &Directory,
        now: UnixTime,
        request: &Request<B>,
    ) -> Option<&'w ExternalIssuer> {
        if !world.external_issuers.iter().any(ExternalIssuer::is_fetched)
            || !request.uri().path().ends_with(TOKEN_PATH)
        {
            return None;
        }
        let form = ReceivedForm::decode(request.body().as_ref()).ok()?;
        let jws = UnverifiedJws::parse(form.value("client_assertion")?).ok()?;
        let name = jws.unverified_claims().ok()?.string("iss")?;
        let issuer = world.external_issuers.iter().find(|it| it.is_fetched() && it.issuer == name)?;
        // The emulator fetches keys only from issuers that the application trusts.
        let application = world.application(form.value("client_id")?)?;
        let trusted = directory.effective_federated(&application.id, now);
        if !trusted.iter().any(|it| it.credential.issuer == name) {
            return None;
        }
        let known = self.known();
        let fresh = known.get(name).is_some_and(|known| {
            let has_key =
                known.keys.as_ref().is_ok_and(|keys| keys.iter().any(|key| kid(key) == jws.header().kid()));
            // A clock that was set back ends the pause.
            let is_within = |from: UnixTime, time| from <= now && now < from.plus(time);
            (has_key && is_within(known.fetched, LIFETIME)) || is_within(known.asked, PAUSE)
        });
        (!fresh).then_some(issuer)
    }

    /// Records the result of a fetch. After a failure, the keys of an earlier fetch stay valid until they expire.
    pub(crate) fn learn(&self, issuer: &str, keys: Result<Vec<Jwk>, String>, now: UnixTime) {
        let mut known = self.known();
        match known.get_mut(issuer) {
            Some(before) if keys.is_err() && before.keys.is_ok() && now < before.fetched.plus(LIFETIME) => {
                before.asked = now;
            }
            _ => drop(known.insert(issuer.to_owned(), Known { keys, fetched: now, asked: now })),
        }
    }

    /// Returns the lock of an issuer. A task has to hold the lock while it fetches the keys. After the task gets the
    /// lock, it has to call `wanted` again before it fetches.
    pub(crate) fn turn(&self, issuer: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(issuer.to_owned()).or_default())
    }

    /// Returns the keys of an issuer.
    ///
    /// # Errors
    /// The reason why there are no keys.
    pub(crate) fn of(&self, issuer: &str) -> Result<Vec<Jwk>, String> {
        match self.known().get(issuer) {
            Some(known) => known.keys.clone(),
            None => Err("the issuer's keys have not been fetched yet".to_owned()),
        }
    }

    pub(crate) fn clear(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the key id of a key.
pub(crate) fn kid(key: &Jwk) -> Option<&str> {
    key.get("kid").and_then(Value::as_str)
}
