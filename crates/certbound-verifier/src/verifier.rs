//! Decides whether a token is acceptable on a connection.

mod builder;
mod remembered;
mod steps;

use std::sync::Arc;

use certbound_core::jws::{Algorithm, JwsError, UnverifiedJws};
use certbound_core::jwt::Claims;
use certbound_core::shown::shown;
use certbound_core::time::UnixTime;

pub use self::builder::{BuildError, VerifierBuilder};
use self::remembered::{Entry, Remembered};
pub use self::steps::{Explanation, Outcome, Step};
use self::steps::{NoTrail, Recorded, Trail};
use crate::authorization::Authorization;
use crate::clock::Clock;
use crate::issuer::{Candidates, Issuer, KeySet, tenant_of};
use crate::keys::Keys;
use crate::peer::PeerCertificate;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::verified::Verified;

/// Decides whether a request's token is acceptable on the connection of the request. It is cheap to clone.
///
/// It checks form, scheme, issuer, tenant, version, audience, times, algorithm, key, signature, binding, the
/// certificate's dates, the kind of caller, the client, and roles or scopes. It does **not** check who issued the
/// client certificate or whether it was revoked, because a binding needs neither. It does not check whether the token
/// was used before, or what its caller may do beyond roles and scopes.
///
/// ```
/// use certbound_core::environment::Cloud;
/// use certbound_core::tenant::TenantId;
/// use certbound_verifier::{Issuer, Verifier};
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
}

/// A token whose claims were read and checked, and whose signature was not verified yet.
struct Read<'t> {
    jws: UnverifiedJws<'t>,
    issuer: usize,
    algorithm: Algorithm,
    expires_at: UnixTime,
}

impl Verifier {
    /// Returns a builder without settings.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// Decides with the given keys at the given time. It does no I/O, reads no clock and remembers nothing.
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
        self.decide(keys, authorization, peer, now, &mut NoTrail)
    }

    /// Decides as [`Verifier::check`] does, and returns the outcome of each step.
    pub fn explain(
        &self,
        keys: &KeySet,
        authorization: &Authorization<'_>,
        peer: &PeerCertificate,
        now: UnixTime,
    ) -> Explanation {
        let mut trail = Recorded::default();
        let decision = self.decide(keys, authorization, peer, now, &mut trail);
        trail.explain(decision)
    }

    /// Decides with the issuer's keys, and fetches them if they are missing or old.
    ///
    /// A token that is refused whatever its key is starts no fetch and waits for none. Unknown keys cause at most one
    /// fetch in 30 s for each issuer. A failed fetch is repeated after 10 s, then after 20 s, and so on up to 300 s.
    /// Meanwhile the last keys are used until 24 hours after they were fetched.
    ///
    /// A token with an unknown key waits at most two
    /// seconds for a fetch. While there are no keys at all, a token waits until the fetch ends. The Tokio runtime must have
    /// its timer enabled (`enable_time`).
    ///
    /// It logs a line for each token without `cnf` that it accepts, with client and issuer. When there are no more of
    /// these lines, the binding policy can require bound tokens.
    ///
    /// # Errors
    /// [`Refusal`]. It is [`Refusal::KeysUnavailable`] if there are no keys, or if the token's key is unknown and the
    /// last fetch failed or takes longer than two seconds. A token that would be refused for another reason gets that
    /// reason instead.
    pub async fn verify(
        &self,
        authorization: &Authorization<'_>,
        peer: &PeerCertificate,
    ) -> Result<Verified, Refusal> {
        let now = self.inner.clock.now();
        let remembered = self.inner.remembered.as_ref();
        let memory = remembered.map(|memory| (memory, Remembered::key(authorization, peer)));
        if let Some((memory, key)) = &memory {
            let dates = self.inner.policy.check_certificate_dates(peer, now);
            let vouch = |at: usize, generation| self.inner.keys[at].vouch(generation, now, dates.is_ok());
            if let Some(verified) = memory.get(key, now, vouch) {
                if verified.thumbprint().is_some() {
                    dates?;
                }
                self.inner.policy.check_demand(verified.claims())?;
                tell_unbound(&verified);
                return Ok(verified);
            }
        }
        let (verified, issuer, generation) = self.decide_with_fetched(authorization, peer, now).await?;
        if let Some((memory, key)) = memory {
            let until = self.inner.policy.good_until(&verified);
            memory.put(key, Entry { verified: verified.clone(), until, generation, issuer });
        }
        tell_unbound(&verified);
        Ok(verified)
    }

    /// Returns the keys with which [`Verifier::verify`] would decide, and fetches them if necessary. They are for
    /// [`Verifier::explain`].
    ///
    /// It does not check the connection's certificate, so some tokens cause a fetch here and none in
    /// [`Verifier::verify`]. Use it for your own tokens only.
    ///
    /// # Errors
    /// [`Refusal::KeysUnavailable`]. If the token is refused before its key is looked for, the set is empty and there
    /// is no error.
    pub async fn keys_of(&self, authorization: &Authorization<'_>) -> Result<Arc<KeySet>, Refusal> {
        match self.read(authorization, self.inner.clock.now(), &mut NoTrail) {
            Ok(read) => {
                let keys = &self.inner.keys[read.issuer];
                keys.current(true, |at_hand| self.has_key(&at_hand.keys, &read)).await.map(|found| found.keys)
            }
            Err(_) => Ok(Arc::default()),
        }
    }

    /// Decides. Returns the issuer and the generation of its keys too.
    async fn decide_with_fetched(
        &self,
        authorization: &Authorization<'_>,
        peer: &PeerCertificate,
        now: UnixTime,
    ) -> Result<(Verified, usize, u64), Refusal> {
        let read = self.read(authorization, now, &mut NoTrail)?;
        let at = read.issuer;
        let (issuer, keys) = (&self.inner.issuers[at], &self.inner.keys[at]);
        // The reason for which the token is refused whatever its key is. With such a reason there is no fetch, and it
        // is the answer if there are no keys.
        let claims = read.jws.unverified_claims().map_err(Refusal::Malformed)?;
        let hopeless = self.admit(issuer, claims, peer, now, |_| Ok(()), &mut NoTrail).err();
        let found = keys.current(hopeless.is_none(), |at_hand| self.has_key(&at_hand.keys, &read)).await;
        let found = found.map_err(|unavailable| hopeless.clone().unwrap_or(unavailable))?;
        let named = found.keys.names(issuer, read.jws.header().kid());
        let decision = self.judge(read, &found.keys, authorization, peer, now, &mut NoTrail);
        if named || hopeless.is_some() || !matches!(decision, Err(Refusal::BadSignature)) {
            return decision.map(|verified| (verified, at, found.generation));
        }
        // No key has the token's `kid`, and the keys without a `kid` do not verify it. The issuer may have changed its
        // keys.
        let newer = keys.current(true, |at_hand| at_hand.generation != found.generation).await?;
        if newer.generation == found.generation {
            return Err(Refusal::BadSignature);
        }
        let verified = self.decide(&newer.keys, authorization, peer, now, &mut NoTrail)?;
        Ok((verified, at, newer.generation))
    }

    fn has_key(&self, keys: &KeySet, read: &Read<'_>) -> bool {
        keys.has(&self.inner.issuers[read.issuer], read.jws.header().kid(), read.algorithm)
    }

    fn decide(
        &self,
        keys: &KeySet,
        authorization: &Authorization<'_>,
        peer: &PeerCertificate,
        now: UnixTime,
        trail: &mut impl Trail,
    ) -> Result<Verified, Refusal> {
        let read = self.read(authorization, now, trail)?;
        self.judge(read, keys, authorization, peer, now, trail)
    }

    /// Does the checks that need no key. Unverified claims may be a reason to refuse a token, but never to accept it.
    fn read<'t>(
        &self,
        authorization: &Authorization<'t>,
        now: UnixTime,
        trail: &mut impl Trail,
    ) -> Result<Read<'t>, Refusal> {
        let policy = &self.inner.policy;
        let jws = UnverifiedJws::parse(authorization.token()).map_err(Refusal::of_form)?;
        let claims = jws.unverified_claims().map_err(Refusal::of_form)?;
        trail.passed(Step::Form, || format!("a signed JWT of {} bytes", authorization.token().len()));

        let confirmation = claims.confirmation()?;
        policy.check_scheme(authorization.scheme(), confirmation.is_some())?;
        trail.passed(Step::Scheme, || match confirmation {
            Some(_) => format!("a bound token under {}", authorization.scheme()),
            None => format!("an unbound token under {}", authorization.scheme()),
        });

        check_type(jws.header().typ())?;
        let (at, issuer) = self.issuer_of(claims)?;
        issuer.check_family(claims)?;
        // It equals the `iss` of a trusted issuer, so it is shown unchanged.
        trail.passed(Step::Issuer, || claims.string("iss").unwrap_or_default().to_owned());

        policy.check_audience(claims)?;
        trail.passed(Step::Audience, || shown(&claims.audiences().join(" ")));
        let expires_at = policy.check_times(claims, now)?;
        trail.passed(Step::Times, || format!("ends in {} s", expires_at.since(now).as_secs()));
        let algorithm = jws.algorithm(issuer.algorithms()).map_err(Refusal::Algorithm)?;
        Ok(Read { jws, issuer: at, algorithm, expires_at })
    }

    /// Does the remaining checks, beginning with the signature.
    fn judge(
        &self,
        read: Read<'_>,
        keys: &KeySet,
        authorization: &Authorization<'_>,
        peer: &PeerCertificate,
        now: UnixTime,
        trail: &mut impl Trail,
    ) -> Result<Verified, Refusal> {
        let issuer = &self.inner.issuers[read.issuer];
        let expires_at = read.expires_at;
        let claims = self.signed(read, issuer, keys, trail)?;
        self.admit(issuer, &claims, peer, now, |claims| self.inner.policy.check_demand(claims), trail)?;
        let bound = claims.confirmation()?.is_some();
        let thumbprint = peer.thumbprint().filter(|_| bound);
        Ok(Verified::new(claims, issuer.reading(), authorization.scheme(), thumbprint, expires_at))
    }

    /// Does the checks after the signature. It is also called with unverified claims, to decide whether to fetch, so it
    /// must have no effect. `demand` is the application's function, which gets verified claims only.
    fn admit(
        &self,
        issuer: &Issuer,
        claims: &Claims,
        peer: &PeerCertificate,
        now: UnixTime,
        demand: impl FnOnce(&Claims) -> Result<(), Refusal>,
        trail: &mut impl Trail,
    ) -> Result<(), Refusal> {
        let policy = &self.inner.policy;
        let confirmation = claims.confirmation()?;
        if let Some(claim) = confirmation {
            policy.check_binding(claim, peer)?;
        }
        trail.passed(Step::Binding, || match confirmation {
            Some(claim) => format!("the connection has the certificate {claim}"),
            None => "the token is not bound".to_owned(),
        });
        if confirmation.is_some() {
            policy.check_certificate_dates(peer, now)?;
        }
        trail.passed(Step::CertificateDates, || match (confirmation, peer.validity()) {
            (Some(_), Some((_, to))) => format!("ends in {} s", to.since(now).as_secs()),
            _ => "not checked".to_owned(),
        });

        demand(claims)?;
        let reading = issuer.reading();
        policy.check_caller(&reading, claims)?;
        trail.passed(Step::Caller, || shown_or_none(reading.client(claims).unwrap_or_default()));
        policy.check_permission(&reading, claims)?;
        trail.passed(Step::Permission, || match (policy.roles.is_empty(), policy.scopes.is_empty()) {
            (true, true) => "no role or scope is required".to_owned(),
            _ => "a required role or scope is there".to_owned(),
        });
        Ok(())
    }

    fn signed(
        &self,
        read: Read<'_>,
        issuer: &Issuer,
        keys: &KeySet,
        trail: &mut impl Trail,
    ) -> Result<Claims, Refusal> {
        let Read { jws, algorithm, .. } = read;
        let tenant = jws.unverified_claims().ok().and_then(tenant_of);
        let kid = jws.header().kid();
        let candidates = match keys.candidates(issuer, kid, tenant, algorithm) {
            Candidates::Keys(candidates) => candidates,
            Candidates::OfAnother => return Err(Refusal::KeyOfAnotherIssuer),
            Candidates::Unknown => return Err(Refusal::UnknownKey),
        };
        trail.passed(Step::Key, || shown_or_none(kid));
        let verified = jws.verify_with_any(candidates, &[algorithm]).map_err(|error| match error {
            JwsError::BadSignature => Refusal::BadSignature,
            error => Refusal::Algorithm(error),
        })?;
        trail.passed(Step::Signature, || format!("valid, with {algorithm}"));
        Ok(verified.into_claims())
    }

    /// Returns the trusted issuer that the token names.
    fn issuer_of(&self, claims: &Claims) -> Result<(usize, &Issuer), Refusal> {
        let named = claims.string("iss").unwrap_or_default();
        let tenant = tenant_of(claims);
        let mut issuers = self.inner.issuers.iter().enumerate();
        let found = issuers.find(|(_, issuer)| issuer.claims(named, tenant));
        found.ok_or_else(|| Refusal::IssuerNotTrusted { found: shown(named) })
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

/// Logs an accepted token without a binding. Remembered decisions are logged too, so that the log shows when every
/// client has a bound token.
fn tell_unbound(verified: &Verified) {
    if verified.thumbprint().is_none() {
        let client = shown_or_none(verified.client_id());
        // It equals the `iss` of a trusted issuer, so it is written unchanged.
        let issuer = verified.claims().string("iss").unwrap_or_default();
        tracing::info!(client, issuer, "unbound token accepted");
    }
}

/// Checks `typ`. An access token is a `JWT`, or an `at+jwt` (RFC 9068). A token without `typ` is accepted.
fn check_type(typ: Option<&str>) -> Result<(), Refusal> {
    let known = ["JWT", "at+jwt", "application/at+jwt"];
    match typ {
        Some(typ) if !known.iter().any(|known| known.eq_ignore_ascii_case(typ)) => Err(Refusal::NotAJwt),
        _ => Ok(()),
    }
}

fn shown_or_none(text: Option<&str>) -> String {
    text.map_or_else(|| "(none)".to_owned(), shown)
}
