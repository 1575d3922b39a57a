//! Who a token is for.

use certbound_core::jwt::Claims;
use certbound_core::shown::shown;

use super::Policy;
use crate::refusal::Refusal;

impl Policy {
    /// Exact texts (RFC 7519, section 4.1.3). A token for a second resource is one that this second resource can send here,
    /// so every audience has to be one of this resource's own names, unless the policy says that one is enough.
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
