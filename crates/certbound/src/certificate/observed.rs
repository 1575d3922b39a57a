//! Whether a token says that it is bound to a certificate.

use certbound_core::jws;
use certbound_core::received::Received;
use certbound_core::secret::Secret;

use super::Binding;
use crate::error::PeerMisbehaved;

/// Whether the token was seen to be bound to our certificate; false where it cannot be read.
///
/// `by_type`: the answer's type says that the token is bound, so an opaque or encrypted token is taken. Elsewhere (RFC 8705
/// alone, type Bearer) only the token can say it.
pub(crate) fn observe(token: &Secret, binding: &Binding, by_type: bool) -> Result<bool, PeerMisbehaved> {
    let confirmation = if by_type {
        match Received::read(token.expose()).map_err(PeerMisbehaved::TokenUnreadable)? {
            Received::Signed(confirmation) => confirmation,
            _ => return Ok(false),
        }
    } else {
        // Where the token alone says what it is, all of it must say one thing.
        let is_strict = jws::unverified_claims(token.expose()).is_ok();
        let confirmation = jws::unverified_confirmation(token.expose()).ok().filter(|_| is_strict);
        confirmation.ok_or(PeerMisbehaved::NotBound { reason: "it cannot be read" })?
    };
    match confirmation.thumbprint() {
        Err(error) => Err(PeerMisbehaved::BadConfirmation(error.to_string())),
        Ok(Some(found)) if !binding.thumbprint().matches_claim(found) => {
            Err(PeerMisbehaved::BoundToAnother { expected: binding.thumbprint(), found: found.to_owned() })
        }
        Ok(Some(_)) => Ok(true),
        Ok(None) if by_type => Err(PeerMisbehaved::ConfirmationMissing),
        Ok(None) => Err(PeerMisbehaved::NotBound { reason: "it has no confirmation claim (`cnf`)" }),
    }
}
