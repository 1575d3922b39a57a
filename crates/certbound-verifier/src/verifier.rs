//! Decides whether a token is acceptable on a connection.

mod builder;
mod decision;
mod remembered;
mod steps;

use std::sync::Arc;

use certbound_core::time::UnixTime;
use tokio::time::Instant;

pub use self::builder::{BuildError, VerifierBuilder};
use self::decision::{Attempt, shown_or_none};
use self::remembered::{Entry, Remembered};
use self::steps::Trail;
pub use self::steps::{Explanation, Outcome, Step};
use crate::authorization::Authorization;
use crate::clock::Clock;
use crate::issuer::{Issuer, KeySet};
use crate::keys::{KeyStatus, Keys};
use crate::observe::{Decision, Observer};
use crate::peer::PeerCertificate;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::verified::Verified;

/// Decides whether a request's token is acceptable on the connection of the request. A clone is cheap.
///
/// The verifier checks form, scheme, issuer, tenant, version, audience, times, algorithm, key, signature, binding, the
/// certificate's dates, the kind of caller, the client, and roles or scopes. It does **not** check the issuer of the
/// client certificate or its revocation, because a binding needs neither check. It does not detect a second use of a
/// token, and does not check the caller's permissions beyond roles and scopes.
///
/// ```
/// use certbound_verifier::{Cloud, Issuer, TenantId, Verifier};
///
/// let tenant = TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c")?;
/// let verifier = Verifier::builder()
///     .issuer(Issuer::entra(Cloud::Public, [tenant])?)
///     .audience("api://orders")
///     .any_role(["Orders.Read"])
///     .build()?;
/// # let _ = verifier;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Verifier {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) keys: Vec<Keys>,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) remembered: Option<Remembered>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Verifier {
    /// Returns a builder without settings.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// Decides with the given keys at the given time. This method does no I/O, reads no clock and remembers no
    /// decision.
    ///
    /// # Errors
    /// [`Refusal`]: the first reason in the order of its variants.
    pub fn check(
        &self,
        keys: &KeySet,
        authorization: &Authorization<'_>,
        peer: &PeerCertificate,
        now: UnixTime,
    ) -> Result<Verified, Refusal> {
        self.inner.decide(keys, Attempt { authorization: *authorization, peer, now }, &mut Trail::default())
    }

    /// Decides as [`Verifier::check`] does, and returns the outcome of each step.
    pub fn explain(
        &self,
        keys: &KeySet,
        authorization: &Authorization<'_>,
        peer: &PeerCertificate,
        now: UnixTime,
    ) -> Explanation {
        let mut trail = Trail::recorded();
        let attempt = Attempt { authorization: *authorization, peer, now };
        let decision = self.inner.decide(keys, attempt, &mut trail);
        trail.explain(decision)
    }

    /// Decides with the issuer's keys, and fetches them if they are missing or old.
    ///
    /// A token that would be refused with every key starts no fetch and waits for no fetch. Unknown keys cause at most
    /// one fetch in 30 s for each issuer. The verifier repeats a failed fetch after 10 s, then after 20 s, 40 s and so
    /// on up to 300 s. Meanwhile it uses the last keys until 24 hours after their fetch.
    ///
    /// If there are no usable keys, a token waits for the end of the fetch. Otherwise a token with an unknown key waits
    /// at most two seconds for a fetch. A token with a known key waits for the end of the fetch only if the keys are
    /// older than 70 minutes and the last fetch did not fail. The Tokio runtime must have its timer enabled
    /// (`enable_time`).
    ///
    /// The method logs a line for each token without `cnf` that it accepts, with client and issuer. When the log has no
    /// more of these lines, the binding policy can require bound tokens.
    ///
    /// # Errors
    /// [`Refusal`]. It is [`Refusal::KeysUnavailable`] if there are no usable keys, or if the token's key is unknown
    /// and the last fetch failed or takes longer than two seconds. If the verifier would refuse the token for another
    /// reason, it returns that reason instead.
    pub async fn verify(
        &self,
        authorization: &Authorization<'_>,
        peer: &PeerCertificate,
    ) -> Result<Verified, Refusal> {
        let began = self.inner.began();
        let decision = self.decide(authorization, peer).await;
        self.inner.decided(began, decision.as_ref().err());
        decision
    }

    async fn decide(
        &self,
        authorization: &Authorization<'_>,
        peer: &PeerCertificate,
    ) -> Result<Verified, Refusal> {
        let now = self.inner.clock.now();
        let attempt = Attempt { authorization: *authorization, peer, now };
        let remembered = self.inner.remembered.as_ref();
        let memory = remembered.map(|memory| (memory, Remembered::key(authorization, peer)));
        if let Some((memory, key)) = &memory
            && let Some(Entry { verified, generation, issuer, .. }) = memory.get(key, now)
        {
            let dates = self.inner.policy.check_certificate_dates(peer, now);
            if self.inner.keys[issuer].is_current(generation, now, dates.is_ok()) {
                self.inner.issuers[issuer].check_rule(verified.claims())?;
                if verified.thumbprint().is_some() {
                    dates?;
                }
                self.inner.policy.check_demand(verified.claims())?;
                log_unbound(&verified);
                return Ok(verified);
            }
        }
        let (verified, issuer, generation) = self.decide_with_fetched(attempt).await?;
        if let Some((memory, key)) = memory {
            let until = self.inner.policy.good_until(&verified);
            memory.put(key, Entry { verified: verified.clone(), until, generation, issuer });
        }
        log_unbound(&verified);
        Ok(verified)
    }

    /// Starts a fetch for each issuer whose keys are missing or older than one hour, and returns at once. After a
    /// failed fetch, the pauses of [`Verifier::verify`] apply. Call this method at the start of a server, and then
    /// regularly, so that no request waits for keys.
    ///
    /// # Panics
    /// The method panics outside of a Tokio runtime, if a fetch must start.
    pub fn refresh_keys(&self) {
        self.inner.keys.iter().for_each(Keys::refresh);
    }

    /// Returns the state of the keys of each issuer, in the order in which the issuers were added. This method starts
    /// no fetch.
    pub fn key_status(&self) -> Vec<KeyStatus> {
        let both = self.inner.issuers.iter().zip(&self.inner.keys);
        both.map(|(issuer, keys)| keys.status(issuer)).collect()
    }

    /// Returns the keys with which [`Verifier::verify`] would decide, and fetches them if necessary. Use them with
    /// [`Verifier::explain`].
    ///
    /// This method does not check the connection's certificate, so some tokens cause a fetch here but not in
    /// [`Verifier::verify`]. Use it for your own tokens only.
    ///
    /// # Errors
    /// [`Refusal::KeysUnavailable`] if there are no usable keys, or if the token's key is unknown and the last fetch
    /// failed or takes longer than two seconds. For a token that the verifier refuses before it needs a key, the set is
    /// empty and there is no error.
    pub async fn keys_of(&self, authorization: &Authorization<'_>) -> Result<Arc<KeySet>, Refusal> {
        let (inner, peer) = (&self.inner, PeerCertificate::none());
        let attempt = Attempt { authorization: *authorization, peer: &peer, now: inner.clock.now() };
        let Ok(read) = inner.read(attempt, &mut Trail::default()) else { return Ok(Arc::default()) };
        let found =
            inner.keys[read.issuer].current(true, |at_hand| inner.has_key(&at_hand.keys, &read)).await;
        found.map(|found| found.keys)
    }

    /// Decides about a token. Also returns the index of the issuer and the generation of the issuer's keys.
    async fn decide_with_fetched(&self, attempt: Attempt<'_>) -> Result<(Verified, usize, u64), Refusal> {
        let inner = &self.inner;
        let read = inner.read(attempt, &mut Trail::default())?;
        let at = read.issuer;
        let keys = &inner.keys[at];
        // A token that would be refused with every key causes no fetch. If there are no keys, the result is this
        // refusal.
        let without_key = inner.refusal_without_key(&read);
        let found = keys.current(without_key.is_none(), |at_hand| inner.has_key(&at_hand.keys, &read)).await;
        let found = found.map_err(|unavailable| without_key.clone().unwrap_or(unavailable))?;
        let named = inner.names_key(&found.keys, &read);
        let decision = inner.judge(read, &found.keys, &mut Trail::default());
        if named || without_key.is_some() || !matches!(decision, Err(Refusal::BadSignature)) {
            return decision.map(|verified| (verified, at, found.generation));
        }
        // No key was found by the token's `kid`, and the keys that were tried do not verify the token. The issuer may
        // have changed its keys.
        let newer = keys.current(true, |at_hand| at_hand.generation != found.generation).await?;
        if newer.generation == found.generation {
            return Err(Refusal::BadSignature);
        }
        let verified = inner.decide(&newer.keys, attempt, &mut Trail::default())?;
        Ok((verified, at, newer.generation))
    }
}

impl Inner {
    /// Returns the start of a decision. Without an observer the clock is not read.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.observer.as_ref().map(|_| Instant::now())
    }

    /// Reports a decision to the observer.
    pub(crate) fn decided(&self, began: Option<Instant>, refusal: Option<&Refusal>) {
        if let (Some(observer), Some(began)) = (&self.observer, began) {
            observer.decided(&Decision { refusal, duration: began.elapsed() });
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("issuers", &self.inner.issuers)
            .field("policy", &self.inner.policy)
            .finish_non_exhaustive()
    }
}

/// Logs an accepted token without a binding. Remembered decisions are logged too. The log then shows when every client
/// has a bound token.
fn log_unbound(verified: &Verified) {
    if verified.thumbprint().is_none() {
        let client = shown_or_none(verified.client_id());
        // The value equals the `iss` of a trusted issuer, so it is written unchanged.
        let issuer = verified.claims().string("iss").unwrap_or_default();
        tracing::info!(client, issuer, "unbound token accepted");
    }
}
