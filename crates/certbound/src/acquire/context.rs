//! The parts of every source of tokens that do not depend on its credential.

use std::sync::{Arc, Weak};

use super::request_key::RequestKey;
use crate::background::Background;
use crate::cache::key::ClientKey;
use crate::cache::{Origins, TokenCache};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, NetworkError};
use crate::observe::{Observer, Observers};
use crate::retry::{RetryPolicy, Throttle};
use crate::transport::{AnyTransport, Propagating, TracePropagation, default_transport};

/// The parts of every source of tokens that do not depend on its credential.
pub(crate) struct Context {
    pub(crate) cache: TokenCache,
    pub(crate) cache_key: Arc<ClientKey>,
    /// The application's id, or the name of the managed identity.
    pub(crate) name: Arc<str>,
    pub(crate) origins: Origins,
    pub(crate) background: Weak<Background>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Arc<dyn AnyTransport>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) retry_policy: RetryPolicy,
    /// The errors of responses in which the token service asked the client to wait.
    pub(crate) throttle: Throttle<RequestKey, Arc<Error>>,
}

/// The settings of a builder that become a [`Context`].
#[derive(Default)]
pub(crate) struct ContextSettings {
    pub(crate) cache: Option<TokenCache>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) transport: Option<Arc<dyn AnyTransport>>,
    pub(crate) trace_context: Option<TracePropagation>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) retry_policy: RetryPolicy,
}

impl Context {
    /// Returns the observers of an acquisition: `of_call` and the observer of the client.
    pub(crate) fn observers<'a>(&'a self, of_call: Option<&'a Arc<dyn Observer>>) -> Observers<'a> {
        Observers::new(of_call, self.observer.as_ref())
    }
}

impl ContextSettings {
    /// Replaces absent settings by their defaults. Observers see `name`. The second returned value owns the background
    /// tasks.
    ///
    /// # Errors
    /// [`NetworkError`], if the default network cannot be used.
    pub(crate) fn build(
        self,
        cache_key: Arc<ClientKey>,
        name: Arc<str>,
    ) -> Result<(Context, Arc<Background>), NetworkError> {
        let background = Arc::new(Background::default());
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport()?,
        };
        let context = Context {
            cache: self.cache.unwrap_or_default(),
            cache_key,
            name,
            origins: Origins::default(),
            background: Arc::downgrade(&background),
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            transport: match self.trace_context {
                Some(propagation) => Arc::new(Propagating { transport, propagation }),
                None => transport,
            },
            observer: self.observer,
            retry_policy: self.retry_policy,
            throttle: Throttle::new(self.retry_policy),
        };
        Ok((context, background))
    }
}
