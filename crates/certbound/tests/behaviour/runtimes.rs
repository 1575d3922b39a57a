//! A client belongs to the runtime in which it is used. If a runtime was shut down, the caller gets an error and never
//! hangs, and the client works in the next runtime.

use std::collections::HashMap;
use std::future::IntoFuture as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certbound::cache::{StoreEntry, StoreError, StoreKey, TokenStore};
use certbound::error::{ProviderError, TransportError};
use certbound::managed_identity::{IdentityId, KeyProvider as _, MachineCertificates, SoftwareKeys};
use certbound::transport::{Answer, Via};
use certbound::{Error, TokenCache, Transport};
use certbound_testkit::{ManualClock, Pair};
use tokio::runtime::{Builder, Runtime};

use crate::refresh::{NOW, Service, builder};
use crate::two_leg::vault;

/// Stops the first `count` futures.
#[derive(Clone)]
struct First(Arc<AtomicUsize>);

impl First {
    fn of(count: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(count)))
    }

    async fn stops(&self) {
        let less = |count: usize| count.checked_sub(1);
        if self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            std::future::pending::<()>().await;
        }
    }

    fn all_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

/// Does not answer the first requests whose URL contains `part`.
#[derive(Clone)]
struct Stuck<T> {
    beneath: T,
    part: &'static str,
    first: First,
}

impl<T: Transport> Transport for Stuck<T> {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        if request.uri().to_string().contains(self.part) {
            self.first.stops().await;
        }
        self.beneath.send(request, via).await
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls `work` in a runtime until the first request is stopped, and shuts that runtime down.
fn left_behind<F: Future + Unpin>(first: &First, work: &mut F) {
    let runtime = runtime();
    runtime.block_on(async {
        while !first.all_stopped() {
            assert!(futures_util::poll!(&mut *work).is_pending());
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_token_whose_runtime_was_shut_down_is_an_error_and_the_next_one_is_acquired() {
    for part in ["getplatformmetadata", "issuecredential", "oauth2"] {
        let (pair, first) = (Pair::new(), First::of(1));
        let stuck = Stuck { beneath: pair.transport(), part, first: first.clone() };
        let identity = pair.managed_identity(IdentityId::System).with_transport(stuck).build().unwrap();
        let scope = vault();
        let mut left = Box::pin(identity.bound_token(&scope).into_future());
        left_behind(&first, &mut left);
        let next = runtime();
        let error = next.block_on(left).unwrap_err();
        assert_eq!(error.code(), "runtime_shut_down", "{part}: {error}");
        next.block_on(identity.bound_token(&scope).into_future()).unwrap();
    }
}

#[test]
fn a_caller_in_another_runtime_is_told_that_the_request_it_joined_is_gone() {
    let (clock, first) = (ManualClock::at(NOW), First::of(1));
    let stuck = Stuck {
        beneath: Service::new(r#""expires_in":3600"#).transport(),
        part: "token",
        first: first.clone(),
    };
    let client = builder(&clock, stuck).build().unwrap();
    let (scope, one, other) = (vault(), runtime(), runtime());
    let mut begun = Box::pin(client.bearer_token(&scope).into_future());
    one.block_on(async { assert!(futures_util::poll!(&mut begun).is_pending()) });
    let mut joined = Box::pin(client.bearer_token(&scope).into_future());
    other.block_on(async { assert!(futures_util::poll!(&mut joined).is_pending()) });
    drop(one);
    let ended = |error| matches!(error, Error::Provider { what: ProviderError::RuntimeEnded, .. });
    assert!(ended(other.block_on(joined).unwrap_err()) && ended(other.block_on(begun).unwrap_err()));
    other.block_on(client.bearer_token(&scope).into_future()).unwrap();
}

/// Identities share certificates by default, even if each identity is used in a different runtime.
#[test]
fn an_identity_in_a_runtime_that_stands_still_holds_up_no_other_identity() {
    for part in ["getplatformmetadata", "issuecredential"] {
        let (pair, first, certificates) = (Pair::new(), First::of(1), MachineCertificates::new());
        let identity = |transport| {
            let builder = pair.managed_identity(IdentityId::System).with_transport(transport);
            builder.with_certificates(certificates.clone()).build().unwrap()
        };
        let one = identity(Stuck { beneath: pair.transport(), part, first: first.clone() });
        let other = identity(Stuck { beneath: pair.transport(), part, first: First::of(0) });
        let (scope, stands_still) = (vault(), runtime());
        let mut left = Box::pin(one.bound_token(&scope).into_future());
        stands_still.block_on(async {
            while !first.all_stopped() {
                assert!(futures_util::poll!(&mut left).is_pending());
                tokio::task::yield_now().await;
            }
        });
        // The caller is dropped. Its request cannot be aborted, because its runtime is not running.
        drop(left);
        // The time of this runtime advances while all tasks wait.
        let runs = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let token = other.bound_token(&scope).into_future();
        let token = runs.block_on(async { tokio::time::timeout(Duration::from_secs(3_600), token).await });
        token.expect(part).unwrap();
        drop(stands_still);
    }
}

/// A key is generated on a blocking thread, which continues after its runtime has stopped.
#[test]
fn a_key_whose_runtime_was_left_is_made() {
    let keys = SoftwareKeys::new();
    let (one, other) = (runtime(), runtime());
    let mut left = Box::pin(keys.key());
    one.block_on(async { assert!(futures_util::poll!(&mut left).is_pending()) });
    other.block_on(keys.key()).unwrap();
    drop(left);
}

/// A store whose first write never ends.
struct FirstStays(First, Mutex<HashMap<StoreKey, StoreEntry>>);

impl TokenStore for FirstStays {
    async fn load(&self, _: &StoreKey) -> Result<Option<StoreEntry>, StoreError> {
        Ok(None)
    }

    async fn save(&self, key: &StoreKey, entry: StoreEntry) -> Result<(), StoreError> {
        self.0.stops().await;
        self.1.lock().unwrap().insert(*key, entry);
        Ok(())
    }

    async fn remove(&self, _: &StoreKey) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn a_token_that_was_being_written_when_its_runtime_ended_is_written_in_the_next_one() {
    let (first, clock) = (First::of(1), ManualClock::at(NOW));
    let store = Arc::new(FirstStays(first.clone(), Mutex::default()));
    let cache = TokenCache::new().with_store(Arc::clone(&store));
    let service = Service::new(r#""expires_in":3600"#);
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    let scope = vault();
    let one = runtime();
    one.block_on(async {
        client.bearer_token(&scope).await.unwrap();
        while !first.all_stopped() {
            tokio::task::yield_now().await;
        }
    });
    drop(one);
    runtime().block_on(async {
        client.bearer_token(&scope).fmi_path("a").await.unwrap();
        cache.flush().await;
    });
    assert_eq!(store.1.lock().unwrap().len(), 2);
}
