//! The source of a token, for its caller.

use std::sync::Arc;
use std::time::Duration;

use super::{Entry, Report};
use crate::certificate::BindingCertificate;

/// The place where an acquisition got its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The memory of the cache. No request was sent, or a request returned no token in time.
    Cache,
    /// The store of the cache. No request was sent to the token service.
    Store,
    /// The token service or a platform, in a request of this call.
    Service,
    /// The token service or a platform, in a request for the same token that another call had started.
    Joined,
}

/// The source of a token, with a report of its requests.
///
/// Both fields are pointers that may be null. With a field of one byte, the compiler would use the unused values of this
/// byte as tags of `Option` and `Result`. It would then copy a token in parts of different sizes, and a hit would take a
/// third longer.
#[derive(Clone)]
pub(crate) struct Obtained {
    /// The field is `None` for a token from the memory of the cache.
    requested: Option<Arc<Requested>>,
    /// The certificate of the entry with the handle in use, if this handle differs from the handle in the entry. The
    /// handle in the entry may no longer work.
    pub(crate) reopened: Option<BindingCertificate>,
}

/// The source of a token that was not in memory.
#[derive(Clone)]
struct Requested {
    source: Source,
    report: Arc<Report>,
}

/// The result of an acquisition or a load.
pub(crate) type Loaded = (Entry, Obtained);

impl Obtained {
    pub(crate) const FROM_CACHE: Self = Self { requested: None, reopened: None };

    /// Returns the source of a token from the store. `cache` is the duration of the look-up.
    pub(crate) fn from_store(cache: Duration) -> Self {
        Self::by(Source::Store, Arc::new(Report { cache, ..Report::default() }))
    }

    pub(crate) fn from_service(report: Report) -> Self {
        Self::by(Source::Service, Arc::new(report))
    }

    fn by(source: Source, report: Arc<Report>) -> Self {
        Self { requested: Some(Arc::new(Requested { source, report })), reopened: None }
    }

    pub(crate) fn source(&self) -> Source {
        self.requested.as_ref().map_or(Source::Cache, |requested| requested.source)
    }

    /// Returns the report of the requests, if the token was not in memory.
    pub(crate) fn report(&self) -> Option<&Report> {
        self.requested.as_ref().map(|requested| &*requested.report)
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

    /// Sets the time of the look-up before the request.
    pub(super) fn after_lookup(mut self, cache: Duration) -> Self {
        if let Some(requested) = &mut self.requested {
            Arc::make_mut(&mut Arc::make_mut(requested).report).cache = cache;
        }
        self
    }

    /// Returns the source for a caller that waited for the request of another call.
    pub(super) fn joined(self) -> Self {
        match &self.requested {
            Some(requested) if requested.source == Source::Service => {
                Self { reopened: self.reopened, ..Self::by(Source::Joined, Arc::clone(&requested.report)) }
            }
            _ => self,
        }
    }
}
