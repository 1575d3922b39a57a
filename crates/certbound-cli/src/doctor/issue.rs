//! The common issues of the two-leg flow, by their names in Microsoft's guidance.

use crate::failure::Failure;

/// Leg 2 has its own certificate, in addition to the certificate of the assertion.
pub(crate) const TWO_CERTIFICATES: &str = "Leg 2 Uses WithCertificate";
/// The assertion has no certificate, so Leg 2 cannot be `jwt-pop`.
pub(crate) const NO_BINDING: &str = "Missing TokenBindingCertificate";
/// The assertion is a token whose audience is not the token exchange.
pub(crate) const WRONG_SCOPE: &str = "Wrong Leg 1 Scope";
/// The assertion has expired or was used before.
pub(crate) const REUSED: &str = "Assertion Reused Incorrectly";

/// AADSTS numbers for an assertion that is not bound, and for a connection without a certificate.
const UNBOUND: [u32; 2] = [392_199, 392_200];
/// AADSTS numbers for an assertion with a wrong audience.
const AUDIENCE: [u32; 2] = [700_212, 7_002_121];
/// The AADSTS number for an assertion that has expired or was used before.
const SPENT: u32 = 700_024;

/// Returns the common issue that an error shows, or `None`.
pub(super) fn of(failure: &Failure) -> Option<&'static str> {
    match (failure.code.as_str(), failure.details.aadsts) {
        ("usage", _) if failure.why.contains("--leg1-certificate and --certificate") => {
            Some(TWO_CERTIFICATES)
        }
        ("mtls_certificate_not_provided" | "assertion_not_bound", _) => Some(NO_BINDING),
        ("assertion_wrong_audience", _) => Some(WRONG_SCOPE),
        ("scope_mismatch", _) if failure.details.leg == Some(1) => Some(WRONG_SCOPE),
        ("assertion_expired" | "assertion_spent", _) => Some(REUSED),
        (_, Some(number)) if UNBOUND.contains(&number) => Some(NO_BINDING),
        (_, Some(number)) if AUDIENCE.contains(&number) => Some(WRONG_SCOPE),
        (_, Some(SPENT)) if failure.details.leg == Some(2) => Some(REUSED),
        _ => None,
    }
}
