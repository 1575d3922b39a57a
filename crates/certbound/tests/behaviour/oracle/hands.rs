//! A clock, a Leg 1 and a store without threads, so that a seed always repeats the same run.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound::cache::{StoreEntry, StoreError, StoreKey, TokenStore};
use certbound::certificate::{BindingCertificate, Blame};
use certbound::clock::Clock;
use certbound::credential::{AssertionRequest, Leg1};
use certbound::{BoundAssertion, Error, Secret, Thumbprint, UnixTime};
use certbound_testkit::emulator::ClientIdentity;
use certbound_testkit::{ManualClock, certificate_of};

use super::chance::Chance;
use super::service::Service;

/// A clock whose waits take a number of turns and no time.
#[derive(Clone)]
pub(super) struct Turns(pub(super) ManualClock);

/// More turns than the service needs for both legs and a restart, unless it is slow.
const PATIENCE: usize = 150;

impl Clock for Turns {
    fn now(&self) -> UnixTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn wait(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(turns(PATIENCE))
    }
}

pub(super) async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// A Leg 1 whose certificate the run replaces. It sometimes panics.
#[derive(Clone)]
pub(super) struct InHand(Arc<Mutex<Hand>>, Service);

struct Hand {
    chance: Chance,
    certificates: Vec<BindingCertificate>,
    /// The indices of the certificates that were used, newest first.
    used: Vec<usize>,
    panics: bool,
    rotated: u64,
}

impl InHand {
    pub(super) fn new(seed: u64, certificates: &[ClientIdentity], service: &Service) -> Self {
        let certificates = certificates.iter().map(certificate_of).collect();
        let chance = Chance::new(seed ^ 0x1e61);
        let hand = Hand { chance, certificates, used: vec![0], panics: false, rotated: 0 };
        Self(Arc::new(Mutex::new(hand)), service.clone())
    }

    pub(super) fn current(&self) -> BindingCertificate {
        let hand = self.0.lock().unwrap();
        hand.certificates[hand.used[0]].clone()
    }

    pub(super) fn rotate(&self) {
        let mut hand = self.0.lock().unwrap();
        let count = hand.certificates.len();
        let next = hand.chance.below(count);
        hand.used.retain(|used| *used != next);
        hand.used.insert(0, next);
        hand.rotated += 1;
    }

    /// Returns the number of replacements of the certificate.
    pub(super) fn rotated(&self) -> u64 {
        self.0.lock().unwrap().rotated
    }

    pub(super) fn panics(&self, panics: bool) {
        self.0.lock().unwrap().panics = panics;
    }
}

impl Leg1 for InHand {
    fn current_binding(&self) -> Option<BindingCertificate> {
        Some(self.current())
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        let hand = self.0.lock().unwrap();
        hand.used.iter().skip(1).map(|used| hand.certificates[*used].thumbprint()).collect()
    }

    /// Replaces the certificate. In most cases the new certificate differs.
    async fn replace(&self, blamed: &BindingCertificate, _: Blame) -> Result<bool, Error> {
        turns(1).await;
        if self.current() == *blamed {
            self.rotate();
        }
        Ok(self.current() != *blamed)
    }

    async fn binding(&self) -> Result<BindingCertificate, Error> {
        Ok(self.current())
    }

    async fn assertion_for(
        &self,
        binding: &BindingCertificate,
        _: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        // Leg 2's request starts here. The assertion contains the number of the request.
        let began = self.1.begins();
        let (count, panics) = {
            let mut hand = self.0.lock().unwrap();
            (hand.chance.below(10), hand.panics)
        };
        turns(count).await;
        if panics {
            // `resume_unwind` writes no message to stderr.
            resume_unwind(Box::new("a panic on demand"));
        }
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let (bound_to, end) = (binding.thumbprint().x5t_s256(), u32::MAX);
        let claims = format!(
            r#"{{"aud":"api://AzureADTokenExchange","exp":{end},"began":{began},"cnf":{{"x5t#S256":"{bound_to}"}}}}"#
        );
        let jwt = format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(&claims));
        Ok(BoundAssertion::from_jwt(Secret::new(jwt), binding.clone()).unwrap())
    }
}

/// Returns the number of Leg 2's request, which its assertion contains.
pub(super) fn began(assertion: &str) -> u64 {
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["began"].as_u64().unwrap()
}

/// A store that takes several turns and sometimes fails.
pub(super) struct Slow(Mutex<(Chance, HashMap<StoreKey, StoreEntry>)>);

impl Slow {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new((Chance::new(seed ^ 0x5709), HashMap::new())))
    }

    async fn mood(&self) -> Result<(), StoreError> {
        let (count, fails) = {
            let chance = &mut self.0.lock().unwrap().0;
            (chance.below(6), chance.below(10) == 0)
        };
        turns(count).await;
        if fails { Err(StoreError::new("a failure on demand")) } else { Ok(()) }
    }
}

impl TokenStore for Slow {
    async fn load(&self, key: &StoreKey) -> Result<Option<StoreEntry>, StoreError> {
        self.mood().await?;
        Ok(self.0.lock().unwrap().1.get(key).cloned())
    }

    async fn save(&self, key: &StoreKey, entry: StoreEntry) -> Result<(), StoreError> {
        self.mood().await?;
        self.0.lock().unwrap().1.insert(*key, entry);
        Ok(())
    }

    async fn remove(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.mood().await?;
        self.0.lock().unwrap().1.remove(key);
        Ok(())
    }
}
