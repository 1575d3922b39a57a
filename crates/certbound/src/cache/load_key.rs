//! The key of a load: acquisitions with equal keys share one load.

use super::Entry;
use super::key::CacheKey;
use crate::certificate::KeyId;
use crate::rejected::TokenHash;

/// The token that a load is for, and the options that change its request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LoadKey {
    pub(crate) token: CacheKey,
    /// The handle of the certificate's key. A request with an old handle is not shared with callers that have a new
    /// handle.
    pub(crate) handle: Option<KeyId>,
    pub(crate) claims: Option<String>,
    pub(crate) forced: bool,
    /// The rejected token. Callers that reject different tokens cannot share a request.
    pub(crate) rejected: Option<TokenHash>,
    /// The token that the request asks the platform to replace. Without this value, a platform may return the old
    /// token.
    pub(crate) replaces: Option<TokenHash>,
}

impl LoadKey {
    /// Returns whether the cached token is ignored.
    pub(super) fn skips_cache(&self) -> bool {
        self.forced || (self.claims.is_some() && self.rejected.is_none())
    }

    /// Returns whether the caller demands a new token. In an outage, the cache then returns no older token.
    pub(crate) fn wants_new(&self) -> bool {
        self.skips_cache() || self.rejected.is_some()
    }

    /// Returns whether `entry` is the token that a resource rejected.
    pub(super) fn rejects(&self, entry: &Entry) -> bool {
        self.rejected.is_some_and(|rejected| rejected == TokenHash::of(&entry.secret))
    }
}
