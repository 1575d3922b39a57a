//! The source of a token, for its caller.

use std::sync::Arc;
use std::time::Duration;

use super::{Entry, Report};
use crate::certificate::BindingCertificate;

/// The place where an acquisition got its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The memory of the cache. No request was sent.
    Cache,
    /// The store of the cache. No request was sent to the token service.
    Store,
    /// The token service or a platform, in a request of this call.
    Service,
    /// The token service or a platform, in a request for the same token that another call had started.
    Joined,
}

/// The source of a token, with a report of its requests.
#[derive(Clone)]
pub(crate) struct Obtained {
    pub(crate) source: Source,
    pub(crate) report: Option<Arc<Report>>,
    /// The certificate of the entry with the handle in use, if this handle differs from the handle in the entry. The
    /// handle in the entry may no longer work.
    pub(crate) reopened: Option<BindingCertificate>,
}

/// The result of an acquisition or a load.
pub(crate) type Loaded = (Entry, Obtained);

impl Obtained {
    pub(crate) const FROM_CACHE: Self = Self { source: Source::Cache, report: None, reopened: None };

    /// Returns the source of a token from the store. `cache` is the duration of the look-up.
    pub(crate) fn from_store(cache: Duration) -> Self {
        Self { source: Source::Store, ..Self::from_service(Report { cache, ..Report::default() }) }
    }

    pub(crate) fn from_service(report: Report) -> Self {
        Self { source: Source::Service, report: Some(Arc::new(report)), reopened: None }
    }

    /// Returns the source with the handle in use. `in_use` returns the certificate in use for the certificate of the
    /// entry.
    ///
    /// A certificate source of the application can return a different certificate. That certificate is ignored, because
    /// the token is not bound to it.
    pub(crate) fn for_handle(
        mut self,
        entry: &Entry,
        in_use: impl FnOnce(&BindingCertificate) -> Option<BindingCertificate>,
    ) -> Self {
        self.reopened =
            entry.binding().and_then(|known| in_use(known).filter(|it| it.is_reopening_of(known)));
        self
    }

    /// Sets the time of the look-up before the request. The report is not shared yet.
    pub(super) fn after_lookup(mut self, cache: Duration) -> Self {
        if let Some(report) = self.report.as_mut().and_then(Arc::get_mut) {
            report.cache = cache;
        }
        self
    }

    /// Returns the source for a caller that waited for the request of another call.
    pub(super) fn joined(self) -> Self {
        match self.source {
            Source::Service => Self { source: Source::Joined, ..self },
            _ => self,
        }
    }
}
