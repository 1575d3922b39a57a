//! Which acquisitions share one load.

use super::Entry;
use super::key::CacheKey;
use crate::rejected::TokenHash;

/// What one load is for: the token, and the options that make its request different.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LoadKey {
    pub(crate) token: CacheKey,
    pub(crate) claims: Option<String>,
    pub(crate) forced: bool,
    /// The rejected token. Callers that reject different tokens cannot share a request.
    pub(crate) rejected: Option<TokenHash>,
    /// The token that the platform is told to replace. A platform that is told of no token may answer with the old one.
    pub(crate) replaces: Option<TokenHash>,
}

impl LoadKey {
    /// Whether the cached token is not looked at.
    pub(super) fn skips_cache(&self) -> bool {
        self.forced || (self.claims.is_some() && self.rejected.is_none())
    }

    /// Whether only a new token is served.
    pub(crate) fn wants_new(&self) -> bool {
        self.skips_cache() || self.rejected.is_some()
    }

    /// Whether `entry` is the token that a resource rejected.
    pub(super) fn rejects(&self, entry: &Entry) -> bool {
        self.rejected.is_some_and(|rejected| rejected == TokenHash::of(&entry.body().secret))
    }
}
