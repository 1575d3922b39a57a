//! Tokens of a managed identity: what a caller can ask.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use certbound_core::scope::ResourceScope;

use super::Machine;
use super::platform::Platform;
use crate::acquire::{AcquireFuture, Acquisition, Options, begin, cached_now};
use crate::cache::Kind;
use crate::cache::key::KeyHead;
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::observe::Observer;
use crate::rejected::TokenHash;
use crate::token::{BearerToken, BoundToken, Token};

/// A token of a managed identity about to be acquired: add options, then await it.
#[must_use = "nothing happens until it is awaited"]
pub struct AcquireFromMachine<'a, T> {
    machine: &'a Arc<Machine>,
    scope: &'a ResourceScope,
    options: Options,
    token: PhantomData<fn() -> T>,
}

impl<'a, T> AcquireFromMachine<'a, T> {
    pub(crate) fn new(machine: &'a Arc<Machine>, scope: &'a ResourceScope) -> Self {
        Self { machine, scope, options: Options::default(), token: PhantomData }
    }

    /// Answers a claims challenge (JSON). The cache is not read. Only a bound token's request carries it: platforms that
    /// give plain tokens have no place for it. Service Fabric is told by its hash which cached token to replace.
    pub fn claims(mut self, claims: impl Into<String>) -> Self {
        self.options.claims = Some(claims.into());
        self
    }

    /// Fetches a new token even when a live one is cached. The certificate stays.
    pub fn force_refresh(mut self) -> Self {
        self.options.force_refresh = true;
        self
    }

    /// Fetches a new token if the cached one is the one that a resource rejected. Not together with
    /// [`AcquireFromMachine::force_refresh`].
    pub fn rejected(mut self, token: TokenHash) -> Self {
        self.options.rejected = Some(token);
        self
    }

    /// Uses a correlation id of the caller's, towards the platform and the token service. Default: a fresh one.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.options.correlation_id = Some(id);
        self
    }

    /// Is told of the request to the token service before it is sent; not of those to the platform.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.options.observer = Some(observer);
        self
    }
}

#[expect(private_bounds, reason = "the two kinds of token are all there are")]
impl<T: Token> AcquireFromMachine<'_, T> {
    /// Forgets the cached token of this very request, if there is one; nothing is sent. Tells whether there was one. The
    /// certificate stays.
    pub fn forget(self) -> bool {
        let machine = Arc::clone(self.machine);
        let now = machine.context.clock.now();
        let certificate = match T::KIND {
            Kind::Bearer => None,
            Kind::Bound => match machine.lasting(now) {
                Some(certificate) => Some(certificate),
                None => return false,
            },
        };
        let acquisition = self.into_acquisition();
        machine.context.cache.remove(&acquisition.key(certificate.as_ref()), now)
    }

    fn into_acquisition(self) -> Acquisition<Platform> {
        Acquisition {
            issuer: Platform(Arc::clone(self.machine)),
            kind: T::KIND,
            scope: self.scope.clone(),
            options: self.options,
            ahead: false,
        }
    }
}

impl<'a> IntoFuture for AcquireFromMachine<'a, BoundToken> {
    type Output = Result<BoundToken, Error>;
    type IntoFuture = AcquireFuture<'a, BoundToken>;

    fn into_future(self) -> Self::IntoFuture {
        begin(hit(&self), || self.into_acquisition())
    }
}

impl<'a> IntoFuture for AcquireFromMachine<'a, BearerToken> {
    type Output = Result<BearerToken, Error>;
    type IntoFuture = AcquireFuture<'a, BearerToken>;

    fn into_future(self) -> Self::IntoFuture {
        begin(hit(&self), || self.into_acquisition())
    }
}

/// A fresh cached token, when the certificate is known without waiting and no option needs a closer look.
fn hit<T: Token>(acquire: &AcquireFromMachine<'_, T>) -> Option<T> {
    let machine = acquire.machine;
    if !acquire.options.plain() {
        return None;
    }
    let thumbprint = match T::KIND {
        Kind::Bearer => None,
        Kind::Bound => Some(machine.at_hand(machine.context.clock.now())?),
    };
    let head = KeyHead::new(&machine.context.cache_key, T::KIND, acquire.scope);
    let (token, is_due) = cached_now(&machine.context, head, thumbprint, None)?;
    if is_due {
        refresh_ahead(acquire);
    }
    Some(token)
}

#[cold]
fn refresh_ahead<T: Token>(acquire: &AcquireFromMachine<'_, T>) {
    let AcquireFromMachine { machine, scope, ref options, token } = *acquire;
    let again = AcquireFromMachine::<T> { machine, scope, options: options.clone(), token };
    again.into_acquisition().refresh_ahead();
}
