//! Tokens of a managed identity: what a caller can ask, and the future it becomes.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use certbound_core::scope::ResourceScope;

use super::Machine;
use super::walk::Walk;
use crate::acquire::{AcquireFuture, Options};
use crate::cache::key::{KeyHead, KeyRef};
use crate::cache::{Came, Kind};
use crate::correlation::CorrelationId;
use crate::error::{Error, Misuse};
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
        let minted = match T::KIND {
            Kind::Bearer => None,
            Kind::Bound => match self.machine.lasting(self.machine.clock.now()) {
                Some(minted) => Some(minted),
                None => return false,
            },
        };
        let walk = walk(&self, T::KIND);
        self.machine.cache.remove(&walk.key(minted.as_deref()), self.machine.clock.now())
    }
}

impl<'a> IntoFuture for AcquireFromMachine<'a, BoundToken> {
    type Output = Result<BoundToken, Error>;
    type IntoFuture = AcquireFuture<'a, BoundToken>;

    fn into_future(self) -> Self::IntoFuture {
        start(self)
    }
}

impl<'a> IntoFuture for AcquireFromMachine<'a, BearerToken> {
    type Output = Result<BearerToken, Error>;
    type IntoFuture = AcquireFuture<'a, BearerToken>;

    fn into_future(self) -> Self::IntoFuture {
        start(self)
    }
}

/// Ready with the cached token, or a future that runs the walk.
fn start<'a, T: Token + Send + 'a>(acquire: AcquireFromMachine<'a, T>) -> AcquireFuture<'a, T> {
    if let Some(token) = hit(&acquire) {
        return AcquireFuture::hit(token);
    }
    let walk = walk(&acquire, T::KIND);
    AcquireFuture::miss(async move {
        let (held, came) = walk.run().await?;
        T::from_entry(held, came).ok_or_else(|| Error::misuse(None, Misuse::CertificateNotProvided))
    })
}

/// A live cached token, when there is nothing else to do.
fn hit<T: Token>(acquire: &AcquireFromMachine<'_, T>) -> Option<T> {
    let machine = acquire.machine;
    if !acquire.options.plain() {
        return None;
    }
    let now = machine.clock.now();
    let thumbprint = match T::KIND {
        Kind::Bearer => None,
        Kind::Bound => Some(machine.at_hand(now)?),
    };
    let head = KeyHead::new(&machine.cache_key, T::KIND, acquire.scope);
    let key = KeyRef { head, thumbprint, extras: None };
    let (held, refresh) = machine.cache.live(&key, now)?;
    if refresh {
        refresh_ahead(acquire, T::KIND);
    }
    T::from_entry(held, Came::FROM_CACHE)
}

#[cold]
fn refresh_ahead<T>(acquire: &AcquireFromMachine<'_, T>, kind: Kind) {
    walk(acquire, kind).refresh_ahead();
}

fn walk<T>(acquire: &AcquireFromMachine<'_, T>, kind: Kind) -> Walk {
    let AcquireFromMachine { machine, scope, ref options, .. } = *acquire;
    Walk { machine: Arc::clone(machine), kind, scope: scope.clone(), options: options.clone(), ahead: false }
}
