//! The fast path of a cache hit. Every other acquisition runs [`Acquisition::run`].

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use certbound_core::scope::ResourceScope;

use super::any_issuer::{AcquireParameters, AnyIssuer};
use super::options::Options;
use super::setters::Acquire;
use crate::cache::Obtained;
use crate::cache::key::{Extras, HeadHash, KeyHead, KeyRef};
use crate::error::{Error, Misuse};
use crate::token::{BearerToken, BoundToken, Token};

impl<'a> IntoFuture for Acquire<'a, BoundToken> {
    type Output = Result<BoundToken, Error>;
    type IntoFuture = AcquireFuture<'a, BoundToken>;

    fn into_future(self) -> AcquireFuture<'a, BoundToken> {
        begin(self)
    }
}

impl<'a> IntoFuture for Acquire<'a, BearerToken> {
    type Output = Result<BearerToken, Error>;
    type IntoFuture = AcquireFuture<'a, BearerToken>;

    fn into_future(self) -> AcquireFuture<'a, BearerToken> {
        begin(self)
    }
}

/// Returns a future that is ready with the cached token, or a future that runs the acquisition.
fn begin<'a, T: Token + Send + 'a>(acquire: Acquire<'a, T>) -> AcquireFuture<'a, T> {
    if let Some(token) = hit(&acquire) {
        return AcquireFuture(State::Hit(Some(token)));
    }
    let leg = acquire.issuer.leg();
    let walk = acquire.issuer.run(acquire.parameters());
    AcquireFuture(State::Miss(Box::pin(async move {
        let (entry, obtained) = walk.await?;
        // An acquisition of one kind returns a token of that kind. The types do not express that rule, so the code
        // needs an error.
        T::from_entry(entry, obtained).ok_or_else(|| Error::misuse(leg, Misuse::CertificateNotProvided))
    })))
}

/// Returns a fresh cached token, if the certificate is known without waiting and [`Options::plain`] is true.
fn hit<T: Token>(acquire: &Acquire<'_, T>) -> Option<T> {
    let extras = match &acquire.options {
        None => None,
        Some(options) if !options.plain() => return None,
        Some(options) => options.extras(),
    };
    let head = KeyHead::new(&acquire.issuer.context().cache_key, T::KIND, acquire.scope);
    cached_now(acquire.issuer, head, extras, || {
        refresh_ahead::<T>(acquire.issuer, acquire.scope, acquire.options.as_deref());
    })
}

/// Does the same as [`hit`] for a repeated request without options. `hash` is the hash of the head of its cache key.
pub(crate) fn hit_of_prepared(
    issuer: &dyn AnyIssuer,
    scope: &ResourceScope,
    hash: HeadHash,
) -> Option<BoundToken> {
    let head = KeyHead::hashed(&issuer.context().cache_key, BoundToken::KIND, scope, hash);
    cached_now(issuer, head, None, || refresh_ahead::<BoundToken>(issuer, scope, None))
}

/// Returns the fresh token in memory. If the refresh of this token is due, the function calls `refresh`.
fn cached_now<T: Token>(
    issuer: &dyn AnyIssuer,
    head: KeyHead<'_>,
    extras: Option<&Extras>,
    refresh: impl FnOnce(),
) -> Option<T> {
    let context = issuer.context();
    // A bound token expires no later than its certificate, so the certificate of a fresh token is valid.
    let key = KeyRef { head, thumbprint: issuer.thumbprint_now(T::KIND)?, extras };
    let (entry, is_due) = context.cache.fresh(&key, context.clock.now())?;
    let obtained = Obtained::FROM_CACHE.for_handle(&entry, |known| issuer.reopened(known));
    let token = T::from_entry(entry, obtained)?;
    if is_due {
        refresh();
    }
    Some(token)
}

#[cold]
fn refresh_ahead<T: Token>(issuer: &dyn AnyIssuer, scope: &ResourceScope, options: Option<&Options>) {
    let options = options.cloned().unwrap_or_default();
    issuer.refresh_ahead(AcquireParameters { kind: T::KIND, scope, options });
}

/// The future of an acquisition. On a hit it is ready at once; on a miss it is boxed.
#[must_use = "futures do nothing unless polled"]
pub struct AcquireFuture<'a, T>(State<'a, T>);

enum State<'a, T> {
    Hit(Option<T>),
    Miss(Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>),
}

impl<T: Unpin> Future for AcquireFuture<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Hit(token) => match token.take() {
                Some(token) => Poll::Ready(Ok(token)),
                // The future has already returned its token. The contract of `Future` forbids a second poll.
                None => Poll::Pending,
            },
            State::Miss(future) => future.as_mut().poll(cx),
        }
    }
}
