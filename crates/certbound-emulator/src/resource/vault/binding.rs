//! The rules of a vault for bound tokens (`tokenBindingParameters`). The verifier has already refused a Bearer token at
//! a vault that enforces the binding.

use std::str::FromStr as _;

use super::refusal::VaultRefusal;
use crate::resource::{Caller, ResourceServer};
use crate::world::token_binding::STRENGTH_CLAIM;
use crate::world::{TokenBindingMode, TokenBindingStrength};

/// Refuses a bound token at a vault that does not enforce the binding, and a token below the minimum strength.
pub(super) fn check(server: &ResourceServer<'_>, caller: &Caller) -> Result<(), VaultRefusal> {
    let Some(rules) = server.token_binding else { return Ok(()) };
    match rules.mode {
        TokenBindingMode::NotEnforced if caller.bound_to.is_some() => {
            Err(VaultRefusal::binding("NotEnforced rejects bound tokens"))
        }
        TokenBindingMode::NotEnforced => Ok(()),
        TokenBindingMode::Enforced => {
            let strength = strength(caller);
            if strength >= rules.minimum_strength {
                return Ok(());
            }
            let (found, least): (&str, &str) = (strength.into(), rules.minimum_strength.into());
            Err(VaultRefusal::binding(&format!(
                "the token's strength is {found}, and the vault requires {least}"
            )))
        }
    }
}

/// Returns the strength in the token. An absent or unknown strength counts as the lowest strength.
fn strength(caller: &Caller) -> TokenBindingStrength {
    let claim = caller.token.claims().string(STRENGTH_CLAIM);
    claim.and_then(|claim| TokenBindingStrength::from_str(claim).ok()).unwrap_or_default()
}
