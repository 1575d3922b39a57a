//! Keys of issuers outside: fetched by whoever has a network, remembered here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound_core::jws::UnverifiedJws;
use certbound_core::request::ReceivedForm;
use certbound_core::time::UnixTime;
use http::Request;
use serde_json::{Map, Value};

use crate::world::hosts::TOKEN_PATH;
use crate::world::{ExternalIssuer, World};

/// Keys are asked for again after this.
const LIFETIME: Duration = Duration::from_secs(300);
/// An unknown key, or a failure, leads to another question after this at the earliest.
const PAUSE: Duration = Duration::from_secs(10);

type Jwk = Map<String, Value>;

/// What is known of issuers whose keys the world does not name.
#[derive(Default)]
pub(crate) struct FetchedKeys {
    known: Mutex<HashMap<String, Known>>,
    /// One for each issuer, held by whoever asks it: many requests at once are one question.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

struct Known {
    keys: Result<Vec<Jwk>, String>,
    /// When the keys came.
    fetched: UnixTime,
    /// When the issuer was asked last.
    asked: UnixTime,
}

impl FetchedKeys {
    /// The issuer whose keys must be fetched before the request can be decided; none, as a rule.
    pub(crate) fn wanted<'w, B: AsRef<[u8]>>(
        &self,
        world: &'w World,
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
        // Nobody makes us ask an issuer that the application does not trust.
        let application = world.application(form.value("client_id")?)?;
        if !application.federated_credentials.iter().any(|credential| credential.issuer == name) {
            return None;
        }
        let known = self.known();
        let fresh = known.get(name).is_some_and(|known| {
            let has_key =
                known.keys.as_ref().is_ok_and(|keys| keys.iter().any(|key| kid(key) == jws.header().kid()));
            (has_key && now < known.fetched.plus(LIFETIME)) || now < known.asked.plus(PAUSE)
        });
        (!fresh).then_some(issuer)
    }

    /// What came of asking. A failure leaves the keys that were had before for as long as they are kept.
    pub(crate) fn learn(&self, issuer: &str, keys: Result<Vec<Jwk>, String>, now: UnixTime) {
        let mut known = self.known();
        match known.get_mut(issuer) {
            Some(before) if keys.is_err() && before.keys.is_ok() && now < before.fetched.plus(LIFETIME) => {
                before.asked = now;
            }
            _ => drop(known.insert(issuer.to_owned(), Known { keys, fetched: now, asked: now })),
        }
    }

    /// Whoever asks an issuer holds this, and looks again before it asks.
    pub(crate) fn turn(&self, issuer: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(issuer.to_owned()).or_default())
    }

    /// The keys of an issuer.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn of(&self, issuer: &str) -> Result<Vec<Jwk>, String> {
        match self.known().get(issuer) {
            Some(known) => known.keys.clone(),
            None => Err("its keys were not fetched".to_owned()),
        }
    }

    pub(crate) fn clear(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a key.
pub(crate) fn kid(key: &Jwk) -> Option<&str> {
    key.get("kid").and_then(Value::as_str)
}
