//! The rules of a vault for bound tokens, as in the property `tokenBindingParameters` of a real vault, and the strength
//! of a token's binding.

use serde::{Deserialize, Serialize};

/// The rules of a vault for bound tokens. Without these rules, only `bound_tokens` of the resource decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenBindingParameters {
    /// The rule by which the vault rejects tokens.
    pub mode: TokenBindingMode,
    /// The lowest strength of a bound token that the vault accepts. Default: `NoValidation`.
    #[serde(default)]
    pub minimum_strength: TokenBindingStrength,
}

/// The rule by which a vault rejects tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum TokenBindingMode {
    /// The vault rejects bound tokens.
    #[default]
    NotEnforced,
    /// The vault rejects Bearer tokens, and bound tokens below its minimum strength.
    Enforced,
}

/// The protection of a bound token's key against copies, from the lowest strength to the highest.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Deserialize,
    Serialize,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum TokenBindingStrength {
    /// The strength is not checked. A token without a strength has this strength.
    #[default]
    NoValidation,
    /// The key is not attested.
    Unattested,
    /// A machine with trusted launch attested the key.
    AttestedTrustedLaunch,
    /// A confidential machine attested the key.
    AttestedConfidential,
}

/// The claim that contains the strength of a bound token. The claim of the real token service is not documented, so
/// this name may be wrong.
pub(crate) const STRENGTH_CLAIM: &str = "xms_tbstrength";
