//! The audience of a token.

use certbound_core::jwt::Claims;
use certbound_core::shown::shown;

use super::Policy;
use crate::refusal::Refusal;

impl Policy {
    /// Compares the audiences byte for byte (RFC 7519, section 4.1.3). Another resource that is also an audience could
    /// send the token to this resource. So every audience must be a name of this resource, unless the policy accepts
    /// several audiences.
    pub(crate) fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let found = claims.audiences();
        let ours = |audience: &&str| self.audiences.contains(*audience);
        let right = match self.several_audiences {
            true => found.iter().any(ours),
            false => !found.is_empty() && found.iter().all(ours),
        };
        if right { Ok(()) } else { Err(Refusal::Audience { found: shown(&found.join(" ")) }) }
    }
}
