//! Where a token came from, for the caller who gets it.

use std::sync::Arc;

use super::{LoadedFrom, Report};

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The cache; nothing was sent.
    Cache,
    /// The store behind the cache; nothing was sent to the token service.
    Store,
    /// The token service, by this call.
    Service,
    /// The token service, by another call that was already under way for the same token.
    Joined,
}

/// How a token reached its caller.
#[derive(Clone)]
pub(crate) struct Obtained {
    pub(crate) source: Source,
    pub(crate) report: Option<Arc<Report>>,
}

impl Obtained {
    pub(crate) const FROM_CACHE: Self = Self { source: Source::Cache, report: None };

    pub(crate) fn by_load(joined: bool, from: LoadedFrom) -> Self {
        let (source, report) = match from {
            LoadedFrom::Cache => (Source::Cache, None),
            LoadedFrom::Store => (Source::Store, None),
            LoadedFrom::Service(report) if joined => (Source::Joined, Some(report)),
            LoadedFrom::Service(report) => (Source::Service, Some(report)),
        };
        Self { source, report }
    }
}
