//! The check that a token names a certificate.

use certbound_core::jws;
use certbound_core::received::Received;
use certbound_core::secret::Secret;

use super::BindingCertificate;
use crate::error::PeerMisbehaved;

/// Returns true if the token is readable and names the certificate `binding`. Returns false for an unreadable token if
/// `by_type` is true.
///
/// `by_type` is true if the response's token type states the binding. An opaque or encrypted token is then accepted.
/// With the type Bearer (RFC 8705 without `mtls_pop`) only the claims of the token can state the binding.
pub(crate) fn observe(
    token: &Secret,
    binding: &BindingCertificate,
    by_type: bool,
) -> Result<bool, PeerMisbehaved> {
    let confirmation = if by_type {
        match Received::read(token.expose()).map_err(PeerMisbehaved::TokenUnreadable)? {
            Received::Signed(confirmation) => confirmation,
            _ => return Ok(false),
        }
    } else {
        // Only the token itself states that it is bound, so all its claims must be well-formed.
        let claims = jws::unverified_claims(token.expose());
        let claims = claims.map_err(|_| PeerMisbehaved::NotBound { reason: "the token cannot be read" })?;
        claims.confirmation().map(|found| found.map(str::to_owned))
    };
    match confirmation {
        Err(error) => Err(PeerMisbehaved::BadConfirmation(error.to_string())),
        Ok(Some(found)) if !binding.thumbprint().matches_claim(&found) => {
            Err(PeerMisbehaved::BoundToAnother { expected: binding.thumbprint(), found })
        }
        Ok(Some(_)) => Ok(true),
        Ok(None) if by_type => Err(PeerMisbehaved::ConfirmationMissing),
        Ok(None) => Err(PeerMisbehaved::NotBound { reason: "the token has no confirmation claim (`cnf`)" }),
    }
}
