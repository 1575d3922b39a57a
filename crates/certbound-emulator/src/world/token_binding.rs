//! The rules of a vault for bound tokens, as in the property `tokenBindingParameters` of a real vault, and the strength of a
//! token's binding.

use serde::{Deserialize, Serialize};

/// The rules of a vault for bound tokens. Without these rules, `bound_tokens` of the resource decides alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenBindingParameters {
    /// Which tokens the vault rejects.
    pub mode: TokenBindingMode,
    /// The lowest strength of a bound token that the vault accepts. Default: `NoValidation`.
    #[serde(default)]
    pub minimum_strength: TokenBindingStrength,
}

/// Which tokens a vault rejects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum TokenBindingMode {
    /// The vault rejects bound tokens.
    #[default]
    NotEnforced,
    /// The vault rejects Bearer tokens, and bound tokens below its minimum strength.
    Enforced,
}

/// How well the key of a bound token is protected against copies, from the lowest strength to the highest.
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
    /// No attestation of the key.
    Unattested,
    /// A machine with trusted launch attested the key.
    AttestedTrustedLaunch,
    /// A confidential machine attested the key.
    AttestedConfidential,
}

/// The claim of a bound token with its strength. The claim of the real token service is not documented: this name is a
/// guess.
pub(crate) const STRENGTH_CLAIM: &str = "xms_tbstrength";
