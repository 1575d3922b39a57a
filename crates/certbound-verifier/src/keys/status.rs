//! The state of an issuer's keys, for health checks.

use certbound_core::time::UnixTime;

/// The state of the keys of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStatus {
    /// The issuer, as its metadata names it. For several tenants of Entra it contains `{tenantid}`. For fixed keys of
    /// Entra it is the login host.
    pub issuer: String,
    /// The state.
    pub state: KeyState,
}

/// The state of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// The keys are part of the configuration and never change.
    Fixed,
    /// The keys were fetched and can be used.
    Fetched {
        /// The time at which their fetch began.
        at: UnixTime,
        /// The reason why the last fetch failed. It is `None` if the last fetch returned keys.
        failure: Option<String>,
    },
    /// No token of the issuer can be accepted: the verifier has not fetched keys yet, the keys are older than 24 hours,
    /// or the issuer has withdrawn them.
    Unavailable {
        /// The reason, such as the last failure.
        reason: String,
    },
}

impl KeyState {
    /// Whether tokens of the issuer can be accepted.
    pub fn is_usable(&self) -> bool {
        !matches!(self, Self::Unavailable { .. })
    }
}
