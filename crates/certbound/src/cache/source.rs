//! The source of a token, as its caller sees it.

use std::sync::Arc;

use super::{LoadedFrom, Report};

/// The place where an acquisition got its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The memory of the cache. No request was sent.
    Cache,
    /// The store of the cache. No request was sent to the token service.
    Store,
    /// The token service, in a request of this call.
    Service,
    /// The token service, in a request for the same token that another call had started.
    Joined,
}

/// The source of a token, with a report of its requests.
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
