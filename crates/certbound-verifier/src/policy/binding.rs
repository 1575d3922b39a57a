//! The binding that a token must have, and its comparison with the certificate.

use certbound_core::time::UnixTime;

use super::Policy;
use crate::authorization::Scheme;
use crate::peer::PeerCertificate;
use crate::refusal::Refusal;

/// The binding that a token must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingPolicy {
    /// Every token must be bound and must be sent under `mtls_pop`. This policy is the default.
    #[default]
    Required,
    /// Tokens without `cnf` are accepted under `Bearer`. A token with `cnf` must be sent under `mtls_pop`, on a
    /// connection with its certificate.
    ///
    /// Use this policy for a transition only: a thief can use a stolen unbound token.
    WhenBound,
    /// Every token must be bound. A token may be sent under `Bearer`, as in RFC 8705, or under `mtls_pop`.
    Rfc8705,
    /// Tokens without `cnf` are accepted under `Bearer`. A token with `cnf` may be sent under `Bearer` or `mtls_pop`,
    /// on a connection with its certificate.
    ///
    /// Use this policy only while the clients of an RFC 8705 issuer move to bound tokens one by one: a thief can use a
    /// stolen unbound token.
    Rfc8705WhenBound,
}

impl BindingPolicy {
    /// Whether a bound token may be sent under `Bearer`.
    fn binds_under_bearer(self) -> bool {
        matches!(self, Self::Rfc8705 | Self::Rfc8705WhenBound)
    }

    /// Whether a token without `cnf` is accepted.
    fn takes_unbound(self) -> bool {
        matches!(self, Self::WhenBound | Self::Rfc8705WhenBound)
    }
}

impl Policy {
    /// Checks the scheme. This check precedes the check of the binding, because a token under the wrong scheme is
    /// refused with every certificate.
    pub(crate) fn check_scheme(&self, scheme: Scheme, bound: bool) -> Result<(), Refusal> {
        match (scheme, bound) {
            (Scheme::MtlsPop, true) => Ok(()),
            (Scheme::MtlsPop, false) => Err(Refusal::UnboundUnderPop),
            (Scheme::Bearer, true) if self.binding.binds_under_bearer() => Ok(()),
            (Scheme::Bearer, true) => Err(Refusal::BoundUnderBearer),
            (Scheme::Bearer, false) if self.binding.takes_unbound() => Ok(()),
            (Scheme::Bearer, false) => Err(Refusal::BindingRequired),
        }
    }

    /// Checks that the token is bound to the certificate of *this* connection (RFC 8705, section 3). The method
    /// compares the encoded thumbprints and never decodes them.
    pub(crate) fn check_binding(&self, claim: &str, peer: &PeerCertificate) -> Result<(), Refusal> {
        let found = peer.thumbprint().ok_or(Refusal::NoCertificate)?;
        if found.matches_claim(claim) {
            Ok(())
        } else {
            Err(Refusal::CertificateMismatch { bound_to: claim.to_owned(), found })
        }
    }

    pub(crate) fn check_certificate_dates(
        &self,
        peer: &PeerCertificate,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        match peer.validity() {
            Some((from, to)) if self.certificate_dates && (now < from || now > to) => {
                Err(Refusal::CertificateDates { from, to, now })
            }
            _ => Ok(()),
        }
    }
}
