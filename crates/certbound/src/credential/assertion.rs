//! The assertion and its certificate, as one value.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use certbound_core::environment::exchange_uris;
use certbound_core::jws::UnverifiedJws;
use certbound_core::jwt::Claims;
use certbound_core::secret::Secret;
use certbound_core::shown::one_line;
use certbound_core::time::UnixTime;

use crate::certificate::{Binding, BindingCertificate};
use crate::error::{ASSERTION_MARGIN, AssertionError, Misuse};
use crate::observe::LegReport;

/// An assertion from Leg 1 with the certificate it is bound to: what Leg 2 exchanges.
///
/// The two travel as one value, so that neither can be swapped on the way, and it is not `Clone`: as a Leg 1 of its
/// own it can be exchanged once. It is not verified here, only read; the token service verifies it.
pub struct BoundAssertion {
    inner: Arc<Inner>,
    spent: AtomicBool,
}

struct Inner {
    jwt: Secret,
    binding: Binding,
    expires_at: UnixTime,
    leg: Option<LegReport>,
}

impl BoundAssertion {
    /// Takes an assertion made elsewhere, with the certificate it is bound to.
    ///
    /// Its signature is not checked, and neither is the current time: the exchange compares its `exp` with the clock.
    ///
    /// ```no_run
    /// use certbound::{BindingCertificate, BoundAssertion, Secret};
    ///
    /// let jwt = Secret::new(std::fs::read_to_string("assertion.jwt")?.trim());
    /// let assertion = BoundAssertion::from_jwt(jwt, BindingCertificate::from_pem_file("app.pem")?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AssertionError`] when it is empty or no JWT, is for another audience than the token exchange (its URI in any
    /// cloud, or a GUID, which Entra writes), has no `exp`, is not bound, or is bound to another certificate.
    pub fn from_jwt(jwt: Secret, certificate: BindingCertificate) -> Result<Self, AssertionError> {
        if jwt.is_empty() {
            return Err(AssertionError::Empty);
        }
        let jws = UnverifiedJws::parse(jwt.expose()).map_err(AssertionError::NotJwt)?;
        let claims = jws.unverified_claims().map_err(AssertionError::NotJwt)?;
        check_audience(claims)?;
        let expires_at = claims.time("exp").ok().flatten().ok_or(AssertionError::NoExpiry)?;
        let binding = Binding::new(certificate);
        match claims.confirmation() {
            Err(_) => return Err(AssertionError::BadConfirmation),
            Ok(None) => return Err(AssertionError::NotBound),
            Ok(Some(found)) if !binding.thumbprint().matches_claim(found) => {
                return Err(AssertionError::BoundToAnother {
                    expected: binding.thumbprint().x5t_s256(),
                    found: found.to_owned(),
                });
            }
            Ok(Some(_)) => {}
        }
        Ok(Self::new(jwt, binding, expires_at, None))
    }

    /// An assertion just received by Leg 1, whose answer was checked.
    pub(crate) fn new(jwt: Secret, binding: Binding, expires_at: UnixTime, leg: Option<LegReport>) -> Self {
        Self { inner: Arc::new(Inner { jwt, binding, expires_at, leg }), spent: AtomicBool::new(false) }
    }

    /// The assertion itself.
    pub fn secret(&self) -> &Secret {
        &self.inner.jwt
    }

    /// The certificate it is bound to.
    pub fn binding(&self) -> &Binding {
        &self.inner.binding
    }

    /// When it ends.
    pub fn expires_at(&self) -> UnixTime {
        self.inner.expires_at
    }

    /// The request that brought it, when this process made it.
    pub fn report(&self) -> Option<&LegReport> {
        self.inner.leg.as_ref()
    }

    /// Refuses an assertion that ends before the service could read it.
    pub(crate) fn alive_at(&self, now: UnixTime) -> Result<(), Misuse> {
        if now.plus(ASSERTION_MARGIN) >= self.expires_at() {
            return Err(Misuse::AssertionExpired { expired: self.expires_at(), now });
        }
        Ok(())
    }

    /// The assertion, for its one exchange; none the second time.
    pub(crate) fn spend(&self) -> Option<Self> {
        let is_spent = self.spent.swap(true, Ordering::AcqRel);
        (!is_spent).then(|| self.again())
    }

    /// A second handle on the same assertion, for the opted-in reuse only.
    pub(crate) fn again(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), spent: AtomicBool::new(false) }
    }
}

impl fmt::Debug for BoundAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundAssertion")
            .field("jwt", &self.inner.jwt)
            .field("binding", &self.inner.binding)
            .field("expires_at", &self.inner.expires_at)
            .finish_non_exhaustive()
    }
}

fn check_audience(claims: &Claims) -> Result<(), AssertionError> {
    let audiences = claims.audiences();
    let for_exchange = |audience: &&str| exchange_uris().any(|uri| uri == *audience) || is_guid(audience);
    if audiences.is_empty() || !audiences.iter().all(for_exchange) {
        let found = audiences
            .first()
            .map_or_else(String::new, |audience| one_line(audience).chars().take(128).collect());
        return Err(AssertionError::WrongAudience { found });
    }
    Ok(())
}

fn is_guid(text: &&str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}
