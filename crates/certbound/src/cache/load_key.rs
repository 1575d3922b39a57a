//! Which acquisitions share one load.

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
