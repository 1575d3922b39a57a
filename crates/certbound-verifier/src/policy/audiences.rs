//! Who a token is for.

use certbound_core::jwt::Claims;
use certbound_core::shown::shown;

use super::Policy;
use crate::refusal::Refusal;

impl Policy {
    /// Exact texts. A list is refused unless it has one member or lists were allowed: a token that others accept too is
    /// one that others can send here.
    pub(crate) fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let found = claims.audiences();
        let ours = |audience: &&str| self.audiences.contains(*audience);
        let right = match found.as_slice() {
            [one] => ours(one),
            several => self.several_audiences && several.iter().any(ours),
        };
        if right { Ok(()) } else { Err(Refusal::Audience { found: shown(&found.join(" ")) }) }
    }
}
