//! The fast path of a cache hit. Every other acquisition runs [`Acquisition::run`].

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use certbound_core::certificate::Thumbprint;
use certbound_core::scope::ResourceScope;

use super::Acquisition;
use super::client_core::ClientCore;
use super::context::Context;
use super::issuer::Issuer;
use super::options::{Acquire, CloneableProves};
use crate::cache::Obtained;
use crate::cache::key::{Extras, HeadHash, KeyHead, KeyRef};
use crate::credential::Now;
use crate::error::{Error, Misuse};
use crate::token::{BearerToken, BoundToken, Token};

impl<'a> IntoFuture for Acquire<'a, BoundToken> {
    type Output = Result<BoundToken, Error>;
    type IntoFuture = AcquireFuture<'a, BoundToken>;

    fn into_future(self) -> AcquireFuture<'a, BoundToken> {
        begin(hit(&self), || self.into_acquisition())
    }
}

impl<'a> IntoFuture for Acquire<'a, BearerToken> {
    type Output = Result<BearerToken, Error>;
    type IntoFuture = AcquireFuture<'a, BearerToken>;

    fn into_future(self) -> AcquireFuture<'a, BearerToken> {
        begin(hit(&self), || self.into_acquisition())
    }
}

/// Returns a future that is ready with the cached token, or a future that runs the acquisition.
pub(crate) fn begin<'a, T: Token + Send + 'a, I: Issuer>(
    hit: Option<T>,
    acquisition: impl FnOnce() -> Acquisition<I>,
) -> AcquireFuture<'a, T> {
    if let Some(token) = hit {
        return AcquireFuture(State::Hit(Some(token)));
    }
    let acquisition = acquisition();
    AcquireFuture(State::Miss(Box::pin(async move {
        let leg = acquisition.issuer.leg();
        let (entry, obtained) = acquisition.run().await?;
        // An acquisition of one kind returns a token of that kind. The types do not show this, hence the error.
        T::from_entry(entry, obtained).ok_or_else(|| Error::misuse(leg, Misuse::CertificateNotProvided))
    })))
}

/// Returns a fresh cached token, if the certificate is known without waiting and the options need no check.
fn hit<T: Token>(acquire: &Acquire<'_, T>) -> Option<T> {
    let extras = match &acquire.options {
        None => None,
        Some(options) if !options.plain() => return None,
        Some(options) => options.extras(),
    };
    let head = KeyHead::new(&acquire.client.context.cache_key, T::KIND, acquire.scope);
    let thumbprint = thumbprint_now(acquire.credential)?;
    let (token, is_due) = cached_now(&acquire.client.context, head, thumbprint, extras)?;
    if is_due {
        refresh_ahead(acquire);
    }
    Some(token)
}

/// The same as [`hit`], for a repeated request without options, of which the hash of the cache key is known.
pub(crate) fn hit_of_prepared(
    client: &Arc<ClientCore>,
    credential: &dyn CloneableProves,
    scope: &ResourceScope,
    hash: HeadHash,
) -> Option<BoundToken> {
    let head = KeyHead::hashed(&client.context.cache_key, BoundToken::KIND, scope, hash);
    let (token, is_due) = cached_now(&client.context, head, thumbprint_now(credential)?, None)?;
    if is_due {
        refresh_ahead(&Acquire::<BoundToken>::new(client, credential, scope));
    }
    Some(token)
}

/// Returns the fresh token in memory, and whether the caller must start a refresh.
pub(crate) fn cached_now<T: Token>(
    context: &Context,
    head: KeyHead<'_>,
    thumbprint: Option<Thumbprint>,
    extras: Option<&Extras>,
) -> Option<(T, bool)> {
    // A cached token expires no later than its certificate, so the certificate of a fresh token is valid.
    let key = KeyRef { head, thumbprint, extras };
    let (entry, is_due) = context.cache.fresh(&key, context.clock.now())?;
    Some((T::from_entry(entry, Obtained::FROM_CACHE)?, is_due))
}

/// Returns the thumbprint for the cache key, or `Some(None)` without a certificate. `None` means that the certificate
/// is not known without waiting.
fn thumbprint_now(credential: &dyn CloneableProves) -> Option<Option<Thumbprint>> {
    match credential.certificate_now() {
        Now::Nobody => Some(None),
        Now::Known(thumbprint) => Some(Some(thumbprint)),
        Now::MustWait => None,
    }
}

#[cold]
fn refresh_ahead<T: Token>(acquire: &Acquire<'_, T>) {
    let mut again = Acquire::<T>::new(acquire.client, acquire.credential, acquire.scope);
    again.options.clone_from(&acquire.options);
    again.into_acquisition().refresh_ahead();
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

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Hit(token) => match token.take() {
                Some(token) => Poll::Ready(Ok(token)),
                // The future is polled again after it returned its token, which the contract of `Future` forbids.
                None => Poll::Pending,
            },
            State::Miss(future) => future.as_mut().poll(cx),
        }
    }
}
