//! The decision itself: a pure function of the token, the certificate, the keys and the time.

use certbound_core::jws::{Algorithm, JwsError, UnverifiedJws};
use certbound_core::jwt::Claims;
use certbound_core::shown::shown;
use certbound_core::time::{UnixTime, in_words};

use super::Inner;
use super::steps::{Step, Trail};
use crate::authorization::Authorization;
use crate::issuer::{Issuer, KeySet, tenant_of};
use crate::peer::PeerCertificate;
use crate::reading::Reading;
use crate::refusal::Refusal;
use crate::verified::{Facts, Verified};

/// The facts of one request that a decision uses.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) authorization: Authorization<'a>,
    pub(super) peer: &'a PeerCertificate,
    pub(super) now: UnixTime,
}

/// A token whose claims were read and checked, and whose signature was not verified yet.
pub(super) struct Read<'a> {
    attempt: Attempt<'a>,
    jws: UnverifiedJws<'a>,
    /// The index of the token's issuer.
    pub(super) issuer: usize,
    algorithm: Algorithm,
    expires_at: UnixTime,
}

impl Read<'_> {
    pub(super) fn kid(&self) -> Option<&str> {
        self.jws.header().kid()
    }
}

impl Inner {
    pub(super) fn decide(
        &self,
        keys: &KeySet,
        attempt: Attempt<'_>,
        trail: &mut Trail,
    ) -> Result<Verified, Refusal> {
        let read = self.read(attempt, trail)?;
        self.judge(read, keys, trail)
    }

    /// Does the checks that need no key. Unverified claims may be a reason to refuse a token, but never to accept it.
    pub(super) fn read<'a>(&self, attempt: Attempt<'a>, trail: &mut Trail) -> Result<Read<'a>, Refusal> {
        let (policy, Attempt { authorization, now, .. }) = (&self.policy, attempt);
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
        // The value equals the `iss` of a trusted issuer, so it is shown unchanged.
        trail.passed(Step::Issuer, || claims.string("iss").unwrap_or_default().to_owned());

        policy.check_audience(claims)?;
        trail.passed(Step::Audience, || shown(&claims.audiences().join(" ")));
        let expires_at = policy.check_times(claims, now)?;
        trail.passed(Step::Times, || format!("expires in {}", in_words(expires_at.since(now))));
        let algorithm = jws.algorithm(issuer.algorithms()).map_err(Refusal::Algorithm)?;
        Ok(Read { attempt, jws, issuer: at, algorithm, expires_at })
    }

    /// Returns the trusted issuer that the token names. Tokens of version 1 name the same issuer in every cloud, so of
    /// several clouds the function returns the first one that accepts the tenant.
    fn issuer_of(&self, claims: &Claims) -> Result<(usize, &Issuer), Refusal> {
        let named = claims.string("iss").unwrap_or_default();
        let tenant = tenant_of(claims);
        let mut issuers = self.issuers.iter().enumerate().filter(|(_, issuer)| issuer.claims(named, tenant));
        let first = issuers.next().ok_or_else(|| Refusal::IssuerNotTrusted { found: shown(named) })?;
        let Some(second) = issuers.next() else { return Ok(first) };
        let accepts = |(_, issuer): &(usize, &Issuer)| issuer.accepts_tenant(tenant.unwrap_or_default());
        Ok([first, second].into_iter().chain(issuers).find(accepts).unwrap_or(first))
    }

    /// Returns the client that a token names, shortened and escaped. The token is not verified.
    pub(crate) fn claimed_client(&self, authorization: Authorization<'_>) -> Option<String> {
        let jws = UnverifiedJws::parse(authorization.token()).ok()?;
        let claims = jws.unverified_claims().ok()?;
        let unknown_issuer = Reading::Standard { client_claim: None };
        let reading = self.issuer_of(claims).map_or(unknown_issuer, |(_, issuer)| issuer.reading());
        reading.client(claims).ok().flatten().map(shown)
    }

    /// Whether a key of the issuer may have signed the token.
    pub(super) fn has_key(&self, keys: &KeySet, read: &Read<'_>) -> bool {
        keys.has(&self.issuers[read.issuer], read.kid(), read.algorithm)
    }

    /// Returns whether a key has exactly the `kid` and the algorithm of the token.
    pub(super) fn names_key(&self, keys: &KeySet, read: &Read<'_>) -> bool {
        keys.names(&self.issuers[read.issuer], read.kid(), read.algorithm)
    }

    /// Returns the refusal that does not depend on the token's key, or `None`.
    pub(super) fn refusal_without_key(&self, read: &Read<'_>) -> Option<Refusal> {
        let claims = match read.jws.unverified_claims() {
            Ok(claims) => claims,
            Err(error) => return Some(Refusal::Malformed(error)),
        };
        let nothing_demanded = |_: &Claims| Ok(());
        self.admit(read.issuer, claims, read.attempt, nothing_demanded, &mut Trail::default()).err()
    }

    /// Does the remaining checks, beginning with the signature.
    pub(super) fn judge(
        &self,
        read: Read<'_>,
        keys: &KeySet,
        trail: &mut Trail,
    ) -> Result<Verified, Refusal> {
        let Read { attempt, jws, issuer: at, algorithm, expires_at } = read;
        let issuer = &self.issuers[at];
        let tenant = jws.unverified_claims().ok().and_then(tenant_of);
        let kid = jws.header().kid();
        let candidates = keys.candidates(issuer, kid, tenant, algorithm)?;
        trail.passed(Step::Key, || shown_or_none(kid));
        let verified = jws.verify_with_any(candidates, &[algorithm]).map_err(|error| match error {
            JwsError::BadSignature => Refusal::BadSignature,
            error => Refusal::Algorithm(error),
        })?;
        trail.passed(Step::Signature, || format!("valid, with {algorithm}"));
        let claims = verified.into_claims();

        self.admit(at, &claims, attempt, |claims| self.policy.check_demand(claims), trail)?;
        let bound = claims.confirmation()?.is_some();
        let thumbprint = attempt.peer.thumbprint().filter(|_| bound);
        let (reading, scheme) = (issuer.reading(), attempt.authorization.scheme());
        Ok(Verified::new(Facts { claims, reading, scheme, thumbprint, expires_at }))
    }

    /// Does the checks after the signature. This method is also called with unverified claims, to decide whether to
    /// fetch, so it must have no side effect. `demand` calls the application's function. For unverified claims it does
    /// nothing.
    fn admit(
        &self,
        issuer: usize,
        claims: &Claims,
        Attempt { peer, now, .. }: Attempt<'_>,
        demand: impl FnOnce(&Claims) -> Result<(), Refusal>,
        trail: &mut Trail,
    ) -> Result<(), Refusal> {
        let policy = &self.policy;
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
            (Some(_), Some((_, to))) => format!("expires in {}", in_words(to.since(now))),
            _ => "not checked".to_owned(),
        });

        demand(claims)?;
        let reading = self.issuers[issuer].reading();
        policy.check_caller(&reading, claims)?;
        trail.passed(Step::Caller, || shown_or_none(reading.client(claims).unwrap_or_default()));
        policy.check_permission(&reading, claims)?;
        trail.passed(Step::Permission, || match (policy.roles.is_empty(), policy.scopes.is_empty()) {
            (true, true) => "no role or scope is required".to_owned(),
            _ => "the token has a required role or scope".to_owned(),
        });
        Ok(())
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

pub(super) fn shown_or_none(text: Option<&str>) -> String {
    text.map_or_else(|| "(none)".to_owned(), shown)
}
