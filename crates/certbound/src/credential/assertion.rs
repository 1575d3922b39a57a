//! An assertion and its certificate, as one value.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use certbound_core::environment::exchange_uris;
use certbound_core::jws::UnverifiedJws;
use certbound_core::jwt::Claims;
use certbound_core::secret::Secret;
use certbound_core::shown::one_line;
use certbound_core::time::UnixTime;

use crate::certificate::BindingCertificate;
use crate::error::{ASSERTION_MARGIN, AssertionError, Misuse};
use crate::observe::LegReport;

/// An assertion of Leg 1 with the certificate that it is bound to. Leg 2 exchanges the assertion.
///
/// The assertion and the certificate are one value, so that neither can be replaced alone. The value is not `Clone`,
/// and as a [`Leg1`](super::Leg1) it can be exchanged once. The library does not verify the signature of the assertion:
/// the token service verifies it.
pub struct BoundAssertion {
    inner: Arc<Inner>,
    spent: AtomicBool,
}

struct Inner {
    jwt: Secret,
    binding: BindingCertificate,
    expires_at: UnixTime,
    leg: Option<LegReport>,
}

impl BoundAssertion {
    /// Wraps an assertion from elsewhere, with the certificate that it is bound to.
    ///
    /// The function checks neither the signature nor the current time. The exchange compares `exp` with the clock.
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
    /// [`AssertionError`], in these cases: the text is empty or not a JWT; its audience is not the token-exchange
    /// audience of any cloud and not a GUID (Entra writes GUIDs); it has no `exp`; it is not bound; or it is bound to a
    /// different certificate.
    pub fn from_jwt(jwt: Secret, certificate: BindingCertificate) -> Result<Self, AssertionError> {
        if jwt.is_empty() {
            return Err(AssertionError::Empty);
        }
        let jws = UnverifiedJws::parse(jwt.expose()).map_err(AssertionError::NotJwt)?;
        let claims = jws.unverified_claims().map_err(AssertionError::NotJwt)?;
        check_audience(claims)?;
        let expires_at = claims.time("exp").ok().flatten().ok_or(AssertionError::NoExpiry)?;
        match claims.confirmation() {
            Err(_) => return Err(AssertionError::BadConfirmation),
            Ok(None) => return Err(AssertionError::NotBound),
            Ok(Some(found)) if !certificate.thumbprint().matches_claim(found) => {
                return Err(AssertionError::BoundToAnother {
                    expected: certificate.thumbprint().x5t_s256(),
                    found: found.to_owned(),
                });
            }
            Ok(Some(_)) => {}
        }
        Ok(Self::new(jwt, certificate, expires_at, None))
    }

    /// Wraps the assertion of a response to Leg 1. The response was checked before.
    pub(crate) fn new(
        jwt: Secret,
        binding: BindingCertificate,
        expires_at: UnixTime,
        leg: Option<LegReport>,
    ) -> Self {
        Self { inner: Arc::new(Inner { jwt, binding, expires_at, leg }), spent: AtomicBool::new(false) }
    }

    /// Returns the assertion itself.
    pub fn secret(&self) -> &Secret {
        &self.inner.jwt
    }

    /// Returns the certificate that the assertion is bound to.
    pub fn binding(&self) -> &BindingCertificate {
        &self.inner.binding
    }

    /// Returns the time at which the assertion expires.
    pub fn expires_at(&self) -> UnixTime {
        self.inner.expires_at
    }

    /// Returns the report of the request that returned the assertion, if this process sent the request.
    pub fn report(&self) -> Option<&LegReport> {
        self.inner.leg.as_ref()
    }

    /// Refuses an assertion that may expire on its way to the service.
    pub(crate) fn alive_at(&self, now: UnixTime) -> Result<(), Misuse> {
        if now.plus(ASSERTION_MARGIN) >= self.expires_at() {
            return Err(Misuse::AssertionExpired { expired: self.expires_at(), now });
        }
        Ok(())
    }

    /// Returns the assertion for its only exchange. The second call returns `None`.
    pub(crate) fn spend(&self) -> Option<Self> {
        let is_spent = self.spent.swap(true, Ordering::AcqRel);
        (!is_spent).then(|| self.again())
    }

    /// Returns a second value with the same assertion. The new value can be exchanged once.
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
    if audiences.is_empty() {
        return Err(AssertionError::NoAudience);
    }
    match audiences.iter().find(|&audience| !for_exchange(audience)) {
        Some(other) => {
            Err(AssertionError::WrongAudience { found: one_line(other).chars().take(128).collect() })
        }
        None => Ok(()),
    }
}

fn is_guid(text: &&str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}
