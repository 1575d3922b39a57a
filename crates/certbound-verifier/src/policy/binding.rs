//! What binding a token must have, and the certificate that it names.

use certbound_core::time::UnixTime;

use super::Policy;
use crate::authorization::Scheme;
use crate::peer::PeerCertificate;
use crate::refusal::Refusal;

/// What binding a token must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingPolicy {
    /// Every token is bound and comes under `mtls_pop`. The default.
    #[default]
    Required,
    /// Tokens without `cnf` are accepted under `Bearer`; one that has it must be satisfied, under `mtls_pop`.
    ///
    /// A stolen plain token works for whoever holds it: for a time of transition.
    WhenBound,
    /// Every token is bound, and may come under `Bearer`, as RFC 8705 has it, or under `mtls_pop`.
    Rfc8705,
    /// Tokens without `cnf` are accepted under `Bearer`; one that has it must be satisfied, under `Bearer` or `mtls_pop`.
    ///
    /// A stolen plain token works for whoever holds it: for the time in which the clients of an RFC 8705 issuer move to bound
    /// tokens one by one.
    Rfc8705WhenBound,
}

impl BindingPolicy {
    /// Whether a bound token may come under `Bearer`.
    fn binds_under_bearer(self) -> bool {
        matches!(self, Self::Rfc8705 | Self::Rfc8705WhenBound)
    }

    /// Whether a token without `cnf` is accepted.
    fn takes_unbound(self) -> bool {
        matches!(self, Self::WhenBound | Self::Rfc8705WhenBound)
    }
}

impl Policy {
    /// The scheme is told before the binding: under the wrong one no certificate would help.
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

    /// RFC 8705, section 3: the certificate of *this* connection. Texts are compared, never decoded.
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
