//! A runtime that nobody drives any more, as when a thread's `block_on` has returned, holds up no other one.

use std::collections::HashMap;
use std::future::IntoFuture as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certbound::{
    Answer, Attestation, AttestationRequest, Authority, Blame, Client, Clock as _, IdentityId,
    KeyProvider as _, Leg1 as _, ResourceScope, Secret, SoftwareKeys, StoreEntry, StoreError, StoreKey,
    TokenCache, TokenStore, Transport, TransportError, UnixTime, Via,
};
use certbound_testkit::emulator::Emulator;
use certbound_testkit::{AnsweringTransport, ManualClock, Pair};
use tokio::runtime::{Builder, Runtime};

use crate::refresh::{NOW, Service, builder};
use crate::two_leg::vault;

/// So many of those who come first never go on.
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

/// Never answers the first requests that have this in their URL.
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

/// Their time moves by itself where everybody waits.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

type Work<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Begins `work` in a runtime that is not driven any more once all of the first stand still.
fn begun<'a, T>(runtime: &Runtime, first: &First, mut work: Work<'a, T>) -> Work<'a, T> {
    runtime.block_on(async {
        while !first.all_stopped() {
            assert!(futures_util::poll!(&mut work).is_pending());
            tokio::task::yield_now().await;
        }
    });
    work
}

/// Begins `work` in one runtime until all of the first stand still, and does it in another one; tells how long that took.
fn in_another<'a, T>(first: &First, work: impl Fn() -> Work<'a, T>) -> (T, Duration) {
    let (one, other) = (runtime(), runtime());
    let left = begun(&one, first, work());
    let done = timed(&other, work());
    drop(left);
    done
}

fn timed<T>(runtime: &Runtime, work: impl Future<Output = T>) -> (T, Duration) {
    runtime.block_on(async {
        let began = tokio::time::Instant::now();
        let done = tokio::time::timeout(Duration::from_secs(3_600), work).await;
        // Else it waits for the runtime that was left.
        (done.unwrap(), began.elapsed())
    })
}

#[test]
fn a_certificate_is_issued_and_the_next_one_without_a_pause() {
    let (pair, first) = (Pair::new(), First::of(1));
    let stuck = Stuck { beneath: pair.transport(), part: "issuecredential", first: first.clone() };
    let builder = pair.managed_identity(IdentityId::System).with_transport(stuck);
    let (identity, scope) = (builder.build().unwrap(), vault());
    let (one, other) = (runtime(), runtime());
    let left = begun(&one, &first, Box::pin(identity.bound_token(&scope).into_future()));
    let (token, _) = timed(&other, identity.bound_token(&scope).into_future());
    let token = token.unwrap();
    let (replaced, took) = timed(&other, identity.replace(token.binding(), Blame::Refused));
    assert!(replaced && took < Duration::from_secs(60), "{took:?}");
    drop(left);
}

struct FirstIsSilent(First, Arc<Emulator>, UnixTime);

impl Attestation for FirstIsSilent {
    async fn attest(&self, request: &AttestationRequest) -> Result<Secret, String> {
        self.0.stops().await;
        Ok(Secret::new(self.1.attest_for_tests(request.key.public_key(), self.2, "right")))
    }
}

#[test]
fn a_key_is_attested() {
    let (pair, first) = (Pair::new(), First::of(1));
    let hook = FirstIsSilent(first.clone(), Arc::clone(pair.emulator()), pair.clock().now());
    let identity = pair.managed_identity(IdentityId::System).with_attestation(hook).build().unwrap();
    let scope = vault();
    let (token, _) = in_another(&first, || Box::pin(identity.bound_token(&scope).into_future()));
    token.unwrap();
}

#[test]
fn the_metadata_service_is_asked() {
    let (pair, first) = (Pair::new(), First::of(5));
    let stuck = Stuck { beneath: pair.transport(), part: "oauth2/token", first: first.clone() };
    let builder = pair.managed_identity(IdentityId::System).with_transport(stuck);
    let (identity, scope) = (builder.build().unwrap(), vault());
    let others: Vec<_> = (0..4)
        .map(|other| ResourceScope::parse(&format!("https://{other}.example/.default")).unwrap())
        .collect();
    let (token, _) = in_another(&first, || {
        Box::pin(async {
            let others = others.iter().map(|scope| identity.bearer_token(scope).into_future());
            let others = futures_util::future::join_all(others);
            let token = identity.bearer_token(&scope).into_future();
            // The four others are only begun: whom they leave no turn is the question.
            match futures_util::future::select(others, token).await {
                futures_util::future::Either::Left((_, token)) => token.await,
                futures_util::future::Either::Right((token, _)) => token,
            }
        })
    });
    token.unwrap();
}

#[test]
fn a_key_is_made() {
    let keys = SoftwareKeys::new();
    let (one, other) = (runtime(), runtime());
    let mut left = Box::pin(keys.key());
    one.block_on(async { assert!(futures_util::poll!(&mut left).is_pending()) });
    timed(&other, keys.key()).0.unwrap();
    drop(left);
}

#[test]
fn an_issuer_is_asked_about_itself() {
    let first = First::of(1);
    let beneath = AnsweringTransport::new(|seen| match seen.method.as_str() {
        "GET" => {
            (200, r#"{"issuer":"https://idp.example","token_endpoint":"https://idp.example/t"}"#.to_owned())
        }
        _ => (200, r#"{"token_type":"Bearer","access_token":"T","expires_in":3600}"#.to_owned()),
    });
    let client = Client::builder(Authority::oidc("https://idp.example").unwrap(), "app")
        .with_transport(Stuck { beneath, part: "openid-configuration", first: first.clone() })
        .with_secret(Secret::new("s"))
        .build()
        .unwrap();
    let scope = ResourceScope::of_other_authority("read").unwrap();
    let (token, took) = in_another(&first, || Box::pin(client.bearer_token(&scope).into_future()));
    token.unwrap();
    assert!(took < Duration::from_secs(60), "{took:?}");
}

/// A store whose first writer never comes back.
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
fn a_token_is_written_down() {
    let (first, clock) = (First::of(1), ManualClock::at(NOW));
    let store = Arc::new(FirstStays(first.clone(), Mutex::default()));
    let cache = TokenCache::new().with_store(Arc::clone(&store));
    let service = Service::new(r#""expires_in":3600"#);
    let client = builder(&clock, service.transport()).with_cache(cache).build().unwrap();
    let (scope, one, other) = (vault(), runtime(), runtime());
    one.block_on(async {
        client.bearer_token(&scope).await.unwrap();
        while !first.all_stopped() {
            tokio::task::yield_now().await;
        }
    });
    timed(&other, async {
        client.bearer_token(&scope).fmi_path("a").await.unwrap();
        // That which was being written too.
        while store.1.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}
