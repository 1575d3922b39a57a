//! Tests of overlapping requests for one token: shared requests, and the token that is cached.

use std::future::IntoFuture as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use certbound::cache::Source;
use certbound::credential::BySecret;
use certbound::error::TransportError;
use certbound::observe::{CorrelationId, ObservedRequest};
use certbound::token::TokenHash;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{BearerToken, Client, Cloud, ResourceScope, Secret, TokenCache, Transport};
use certbound_testkit::ManualClock;
use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::refresh::{NOW, Service, builder, seconds, token, until};
use crate::two_leg::vault;

/// Answers each request when the test calls `answer`. Request n, counted from 1, gets the token `Tn` or a bound
/// assertion.
#[derive(Clone, Default)]
pub(crate) struct OneByOne(Arc<Mutex<Vec<Asked>>>);

struct Asked {
    body: String,
    answer: Arc<Semaphore>,
    fails: bool,
    /// Whether the request has ended or was dropped.
    over: bool,
}

const LIVES: &str = r#""expires_in":3600,"refresh_in":1800"#;

impl OneByOne {
    /// Returns the number of requests so far.
    pub(crate) fn asked(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Returns the number of requests that have not ended.
    pub(crate) fn under_way(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|asked| !asked.over).count()
    }

    pub(crate) fn body(&self, number: usize) -> String {
        self.0.lock().unwrap()[number - 1].body.clone()
    }

    pub(crate) fn answer(&self, number: usize) {
        self.0.lock().unwrap()[number - 1].answer.add_permits(1);
    }

    /// Answers a request with a transient failure.
    pub(crate) fn fail(&self, number: usize) {
        self.0.lock().unwrap()[number - 1].fails = true;
        self.answer(number);
    }

    /// Waits until `count` requests have arrived.
    pub(crate) async fn came(&self, count: usize) {
        until("a request", || self.asked() >= count).await;
        assert_eq!(self.asked(), count);
    }
}

struct Over(OneByOne, usize);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.0.lock().unwrap()[self.1 - 1].over = true;
    }
}

impl Transport for OneByOne {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        let assertion = body.contains("AzureADTokenExchange");
        let bound_to = via.binding().map(|binding| binding.thumbprint().x5t_s256());
        let kind = if body.contains("token_type=mtls_pop") { "mtls_pop" } else { "Bearer" };
        let answer = Arc::new(Semaphore::new(0));
        let number = {
            let mut all = self.0.lock().unwrap();
            all.push(Asked { body, answer: Arc::clone(&answer), fails: false, over: false });
            all.len()
        };
        let _over = Over(self.clone(), number);
        answer.acquire().await.unwrap().forget();
        let (status, text) = match self.0.lock().unwrap()[number - 1].fails {
            true => (503, r#"{"error":"temporarily_unavailable"}"#.to_owned()),
            false => {
                let token = if assertion { jwt(&bound_to.unwrap_or_default()) } else { format!("T{number}") };
                (200, format!(r#"{{"token_type":"{kind}","access_token":"{token}",{LIVES}}}"#))
            }
        };
        let response = http::Response::builder().status(status).body(Bytes::from(text)).unwrap();
        Ok(Answer { response, tls: TlsFacts::default() })
    }
}

/// Returns a text that can be parsed as a token bound to a certificate.
fn jwt(thumbprint: &str) -> String {
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"cnf":{{"x5t#S256":"{thumbprint}"}}}}"#);
    format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(&claims))
}

struct World {
    clock: ManualClock,
    service: OneByOne,
    cache: TokenCache,
    client: Client<BySecret>,
}

type Waits = JoinHandle<Result<BearerToken, certbound::Error>>;

/// Starts an acquisition with these options.
macro_rules! begin {
    ($world:expr $(, $option:ident($($value:expr)?))*) => {{
        let client = $world.client.clone();
        tokio::spawn(async move { client.bearer_token(&vault())$(.$option($($value)?))*.await })
    }};
}

fn world() -> World {
    let (clock, service, cache) = (ManualClock::at(NOW), OneByOne::default(), TokenCache::new());
    let client = builder(&clock, service.clone()).with_cache(cache.clone()).build().unwrap();
    World { clock, service, cache, client }
}

impl World {
    /// Creates a world with the first token in the cache.
    async fn with_a_token() -> Self {
        let world = world();
        let first = begin!(world);
        world.service.came(1).await;
        world.service.answer(1);
        assert_eq!(name(first).await, "T1");
        world
    }
}

async fn name(waits: Waits) -> String {
    waits.await.unwrap().unwrap().secret().expose().to_owned()
}

fn hash(token: &str) -> TokenHash {
    TokenHash::of(&Secret::new(token))
}

#[tokio::test]
async fn those_who_reject_different_tokens_do_not_share_a_request() {
    let world = world();
    let one = begin!(world, rejected(hash("T9")));
    world.service.came(1).await;
    let other = begin!(world, rejected(hash("T1")));
    world.service.came(2).await;
    let forced = begin!(world, force_refresh());
    world.service.came(3).await;
    // A caller that rejects the same token joins the request.
    let same = begin!(world, rejected(hash("T9")));
    tokio::task::yield_now().await;
    (1..=3).for_each(|number| world.service.answer(number));
    assert_eq!((name(one).await, name(other).await, name(forced).await), pairs("T1", "T2", "T3"));
    assert_eq!((name(same).await.as_str(), world.service.asked()), ("T1", 3));
}

fn pairs(one: &str, two: &str, three: &str) -> (String, String, String) {
    (one.to_owned(), two.to_owned(), three.to_owned())
}

/// Callers that arrive just after the new token get the new token and send no request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_reject_one_token_it_is_fetched_anew_once() {
    let clock = ManualClock::at(NOW);
    let service = Service::new(r#""expires_in":3600"#);
    let client = builder(&clock, service.transport()).build().unwrap();
    let first = hash(&token(&client).await);
    let tasks: Vec<_> = (0..10_000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.bearer_token(&vault()).rejected(first).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(name(task).await, "T2");
    }
    assert_eq!(service.asked(), 2);
}

/// A caller is no longer polled, for example in a `select!` that chose another branch. Its request continues, and so do
/// the calls that wait for the request.
#[tokio::test]
async fn one_who_waits_and_is_not_polled_any_more_holds_up_nobody() {
    let world = world();
    let scope = vault();
    let mut held = std::pin::pin!(world.client.bearer_token(&scope).into_future());
    assert!(futures_util::poll!(&mut held).is_pending());
    world.service.came(1).await;
    world.service.answer(1);
    until("the request to end", || world.service.under_way() == 0).await;
    assert_eq!(token(&world.client).await, "T1");
    // Callers that joined the request are not blocked either.
    let mut held = std::pin::pin!(world.client.bearer_token(&scope).force_refresh().into_future());
    assert!(futures_util::poll!(&mut held).is_pending());
    let joins = begin!(world, force_refresh());
    tokio::task::yield_now().await;
    world.service.came(2).await;
    world.service.answer(2);
    assert_eq!(name(joins).await, "T2");
    assert_eq!(held.await.unwrap().details().source, Source::Service);
}

#[tokio::test]
async fn a_refresh_in_the_background_has_nothing_of_the_quarrel_of_who_began_it() {
    let world = World::with_a_token().await;
    world.clock.advance(seconds(2_000));
    let claims = r#"{"access_token":{"acrs":{"value":"c1"}}}"#;
    let hit = world.client.bearer_token(&vault()).claims(claims).rejected(hash("T9")).await.unwrap();
    assert_eq!((hit.secret().expose(), hit.details().source), ("T1", Source::Cache));
    world.service.came(2).await;
    assert!(!world.service.body(2).contains("claims"), "{}", world.service.body(2));
    // A refresh is an ordinary request: a caller that needs the token joins it.
    world.clock.advance(seconds(1_600));
    let scope = vault();
    let mut joins = std::pin::pin!(world.client.bearer_token(&scope).into_future());
    assert!(futures_util::poll!(&mut joins).is_pending());
    world.service.answer(2);
    assert_eq!(joins.await.unwrap().details().source, Source::Joined);
    assert_eq!(world.service.asked(), 2);
}

/// There is one request and one correlation id. Callers that joined the request see this id, and their logs contain it.
#[tokio::test]
async fn correlation_id_and_observer_are_those_of_who_began() {
    let world = world();
    let ids = [CorrelationId::random(), CorrelationId::random()];
    let seen: [Arc<AtomicUsize>; 2] = Default::default();
    let mut waits = Vec::new();
    for (id, seen) in ids.into_iter().zip(&seen) {
        let (client, seen) = (world.client.clone(), Arc::clone(seen));
        let observer = move |_: &ObservedRequest| {
            seen.fetch_add(1, Ordering::SeqCst);
        };
        waits.push(tokio::spawn(async move {
            client.bearer_token(&vault()).correlation_id(id).observe(Arc::new(observer)).await
        }));
        world.service.came(1).await;
        tokio::task::yield_now().await;
    }
    world.service.answer(1);
    let mut sources = Vec::new();
    for waits in waits {
        let details = waits.await.unwrap().unwrap().details();
        assert_eq!(details.correlation_id, ids[0]);
        sources.push(details.source);
    }
    assert_eq!(sources, [Source::Service, Source::Joined]);
    assert_eq!(seen.map(|seen| seen.load(Ordering::SeqCst)), [1, 0]);
    assert_eq!(world.cache.statistics().joined, 1);
}

/// A hit is fast, even if many misses are slow.
#[tokio::test]
async fn a_hit_does_not_wait_for_the_misses_of_others() {
    let world = World::with_a_token().await;
    let graph = ResourceScope::graph(Cloud::Public);
    let misses: Vec<_> = (0..3)
        .map(|_| {
            let (client, graph) = (world.client.clone(), graph.clone());
            tokio::spawn(async move { client.bearer_token(&graph).await })
        })
        .collect();
    world.service.came(2).await;
    let forced = begin!(world, force_refresh());
    world.service.came(3).await;
    for _ in 0..100 {
        let scope = vault();
        let hit = world.client.bearer_token(&scope).into_future().now_or_never();
        assert_eq!(hit.expect("the token is cached").unwrap().details().source, Source::Cache);
        tokio::task::yield_now().await;
    }
    (2..=3).for_each(|number| world.service.answer(number));
    assert_eq!(name(forced).await, "T3");
    for miss in misses {
        assert_eq!(name(miss).await, "T2");
    }
}

/// The token of the request that started last is cached, for every order of the answers.
#[tokio::test]
async fn an_older_token_does_not_take_the_place_of_a_newer_one() {
    let world = World::with_a_token().await;
    world.clock.advance(seconds(2_000));
    // A refresh ahead starts, then a forced refresh; the answer of the refresh ahead arrives last.
    assert_eq!(token(&world.client).await, "T1");
    world.service.came(2).await;
    let forced = begin!(world, force_refresh());
    world.service.came(3).await;
    world.service.answer(3);
    assert_eq!(name(forced).await, "T3");
    world.service.answer(2);
    until("the end of the refresh", || world.service.under_way() == 0).await;
    for _ in 0..20 {
        assert_eq!(token(&world.client).await, "T3");
        tokio::task::yield_now().await;
    }
    // The answers arrive in the opposite order, and the clock is set back in between.
    let claimed = begin!(world, claims(r#"{"access_token":{}}"#));
    world.service.came(4).await;
    let forced = begin!(world, force_refresh());
    world.service.came(5).await;
    world.clock.set(NOW.plus(seconds(1_990)));
    world.service.answer(4);
    assert_eq!((name(claimed).await, token(&world.client).await), ("T4".to_owned(), "T4".to_owned()));
    world.service.answer(5);
    assert_eq!((name(forced).await, token(&world.client).await), ("T5".to_owned(), "T5".to_owned()));
    assert_eq!(world.cache.len(), 1);
}
