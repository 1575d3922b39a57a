//! Refresh ahead, outages, clock changes, and background requests that end with their client.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certbound::cache::Source;
use certbound::clock::Clock;
use certbound::credential::BySecret;
use certbound::error::TransportError;
use certbound::retry::RetryPolicy;
use certbound::token::TokenHash;
use certbound::transport::{Answer, Via};
use certbound::{Authority, Client, ClientBuilder, Secret, TenantId, TokenCache, Transport, UnixTime};
use certbound_testkit::{AnsweringTransport, ManualClock, Pair};

use crate::overlap::OneByOne;
use crate::two_leg::vault;

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_785_000_000);
const APP: &str = "11111111-2222-3333-4444-555555555555";

/// A service that issues numbered tokens, and that can fail.
#[derive(Clone, Default)]
pub(crate) struct Service {
    /// The members of the answer in addition to the token.
    times: Arc<Mutex<String>>,
    pub(crate) away: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    /// The reason in the telemetry header of the last request.
    reason: Arc<Mutex<String>>,
}

impl Service {
    pub(crate) fn new(times: &str) -> Self {
        let service = Self::default();
        service.gives(times);
        service
    }

    fn gives(&self, times: &str) {
        *self.times.lock().unwrap() = times.to_owned();
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn transport(&self) -> AnsweringTransport {
        let service = self.clone();
        AnsweringTransport::new(move |seen| {
            let number = service.asked.fetch_add(1, Ordering::SeqCst) + 1;
            *service.reason.lock().unwrap() =
                seen.header("x-client-current-telemetry").split(['|', ',']).nth(2).unwrap_or("").to_owned();
            if service.away.load(Ordering::SeqCst) {
                return (503, r#"{"error":"temporarily_unavailable"}"#.to_owned());
            }
            if service.refuses.load(Ordering::SeqCst) {
                return (401, r#"{"error":"invalid_client","error_codes":[7000215]}"#.to_owned());
            }
            let times = service.times.lock().unwrap();
            (200, format!(r#"{{"token_type":"Bearer","access_token":"T{number}",{times}}}"#))
        })
    }

    fn reason(&self) -> String {
        self.reason.lock().unwrap().clone()
    }
}

/// Returns a builder without retries, so that each acquisition sends one request.
pub(crate) fn builder(clock: &ManualClock, transport: impl Transport) -> ClientBuilder<BySecret> {
    retrying(clock, transport).with_retry_policy(RetryPolicy::default().without_retries())
}

pub(crate) fn retrying(clock: &ManualClock, transport: impl Transport) -> ClientBuilder<BySecret> {
    let authority = Authority::public(TenantId::parse("contoso.example").unwrap());
    Client::builder(authority, APP)
        .with_clock(clock.clone())
        .with_transport(transport)
        .with_secret(Secret::new("s"))
}

fn client(clock: &ManualClock, service: &Service) -> Client<BySecret> {
    builder(clock, service.transport()).build().unwrap()
}

pub(crate) async fn token(client: &Client<BySecret>) -> String {
    client.bearer_token(&vault()).await.unwrap().secret().expose().to_owned()
}

/// Lets background tasks run until `done` returns true.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("this condition was never true: {what}");
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_token_is_refreshed_ahead_once_while_the_old_one_is_served() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600,"refresh_in":1800"#));
    let cache = TokenCache::new();
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    assert_eq!(token(&client).await, "T1");
    clock.advance(seconds(1_600));
    assert_eq!(
        (token(&client).await, service.asked()),
        ("T1".to_owned(), 1),
        "the time of the refresh has not come"
    );
    clock.advance(seconds(400));
    for _ in 0..50 {
        let token = client.bearer_token(&vault()).await.unwrap();
        assert_eq!(token.details().source, Source::Cache);
    }
    until("a second token", || service.asked() == 2 && cache.statistics().stored == 2).await;
    assert_eq!(service.reason(), "4", "the header reports a refresh ahead");
    assert_eq!((token(&client).await, service.asked()), ("T2".to_owned(), 2));
    let statistics = cache.statistics();
    assert_eq!((statistics.refreshes, statistics.failed_refreshes, statistics.misses), (1, 0, 1));
    assert_eq!(statistics.hits, 52);
}

/// A program that ends at once could never finish a refresh in the background.
#[tokio::test]
async fn a_cache_without_refresh_ahead_fetches_nothing_before_the_last_minutes() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600,"refresh_in":1800"#));
    let cache = TokenCache::new().without_refresh_ahead();
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    for after in [0, 2_000, 1_000] {
        clock.advance(seconds(after));
        assert_eq!(token(&client).await, "T1");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!((service.asked(), cache.statistics().refreshes), (1, 0));
    clock.advance(seconds(400));
    assert_eq!((token(&client).await, service.asked()), ("T2".to_owned(), 2));
}

#[tokio::test]
async fn a_refresh_that_makes_no_sense_is_not_made() {
    for refresh_in in ["0", "-5", "3600", "999999", r#""never""#] {
        let clock = ManualClock::at(NOW);
        let service = Service::new(&format!(r#""expires_in":3600,"refresh_in":{refresh_in}"#));
        let client = client(&clock, &service);
        for _ in 0..10 {
            assert_eq!(token(&client).await, "T1", "{refresh_in}");
            tokio::task::yield_now().await;
            clock.advance(seconds(329));
        }
        tokio::task::yield_now().await;
        assert_eq!(service.asked(), 1, "{refresh_in}");
    }
}

#[tokio::test]
async fn an_outage_is_invisible_until_the_token_is_really_over() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600,"refresh_in":1800"#));
    let cache = TokenCache::new();
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    assert_eq!(token(&client).await, "T1");
    service.away.store(true, Ordering::SeqCst);
    // In every second from the refresh to the expiry the token is returned, and only few requests are sent.
    clock.advance(seconds(1_700));
    for _ in 1_700..3_600 {
        assert_eq!(token(&client).await, "T1");
        tokio::task::yield_now().await;
        clock.advance(seconds(1));
    }
    let asked = service.asked();
    assert!((30..=70).contains(&asked), "asked {asked} times in 1900 s");
    assert_eq!(cache.statistics().misses, 1, "no caller had to wait for an attempt");
    assert_eq!(cache.statistics().failed_refreshes, asked - 1);
    // The token has expired, so the caller gets the error.
    let error = client.bearer_token(&vault()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    service.away.store(false, Ordering::SeqCst);
    assert_ne!(token(&client).await, "T1");
}

/// Without `refresh_in`, the first caller in the last minutes detects that the service is unavailable.
#[tokio::test]
async fn an_outage_in_the_last_minutes_makes_one_caller_wait() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let cache = TokenCache::new();
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    token(&client).await;
    service.away.store(true, Ordering::SeqCst);
    clock.advance(seconds(3_300));
    for _ in 3_300..3_600 {
        assert_eq!(token(&client).await, "T1");
        tokio::task::yield_now().await;
        clock.advance(seconds(1));
    }
    assert_eq!((cache.statistics().misses, cache.statistics().in_outage), (2, 1));
    client.bearer_token(&vault()).await.unwrap_err();
}

#[tokio::test]
async fn a_refusal_or_a_wish_for_a_new_token_is_not_answered_with_the_old_one() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let client = client(&clock, &service);
    let first = client.bearer_token(&vault()).await.unwrap();
    clock.advance(seconds(3_400));
    service.away.store(true, Ordering::SeqCst);
    client.bearer_token(&vault()).force_refresh().await.unwrap_err();
    client.bearer_token(&vault()).claims(r#"{"access_token":{}}"#).await.unwrap_err();
    client.bearer_token(&vault()).rejected(TokenHash::of(first.secret())).await.unwrap_err();
    assert_eq!(token(&client).await, "T1", "an ordinary call still gets the old token");
    service.refuses.store(true, Ordering::SeqCst);
    service.away.store(false, Ordering::SeqCst);
    clock.advance(seconds(120));
    let error = client.bearer_token(&vault()).await.unwrap_err();
    assert!(!error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_clock_that_jumps_serves_nothing_wrong_and_loses_nothing() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let client = client(&clock, &service);
    assert_eq!(token(&client).await, "T1");
    // The clock jumps ahead by a day: the token seems to have expired. The clock is set back: the old token was
    // replaced, and the age of its successor is unknown, because it arrived while the clock was wrong.
    clock.advance(seconds(86_400));
    assert_eq!(token(&client).await, "T2");
    clock.set(NOW);
    assert_eq!(token(&client).await, "T3");
    // The clock is set back by a small step, as time services do.
    clock.set(UnixTime::from_secs(NOW.as_secs() - 60));
    assert_eq!(token(&client).await, "T3");
}

#[tokio::test]
async fn a_clock_that_jumps_and_comes_back_before_anybody_asks_costs_nothing() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let cache = TokenCache::new();
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    assert_eq!(token(&client).await, "T1");
    clock.advance(seconds(3_700));
    let other = certbound::ResourceScope::graph(certbound::Cloud::Public);
    client.bearer_token(&other).await.unwrap();
    clock.set(UnixTime::from_secs(NOW.as_secs() + 10));
    assert_eq!(token(&client).await, "T1");
    // A token that expired more than an hour ago is removed when another token is added.
    clock.advance(seconds(3_600 + 3_700));
    client.bearer_token(&other).await.unwrap();
    assert_eq!(cache.len(), 1, "the vault's token had been expired for an hour");
}

#[tokio::test]
async fn a_token_that_is_over_on_arrival_is_an_error_and_is_not_kept() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":0"#));
    let cache = TokenCache::new();
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    assert_eq!(client.bearer_token(&vault()).await.unwrap_err().code(), "token_over");
    assert!(cache.is_empty());
}

/// Issuers whose tokens are valid for five minutes are common.
#[tokio::test]
async fn a_token_that_lives_for_minutes_is_served_for_half_of_them() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":300"#));
    let client = client(&clock, &service);
    for first in ["T1", "T2"] {
        assert_eq!(token(&client).await, first);
        clock.advance(seconds(149));
        assert_eq!(token(&client).await, first);
        clock.advance(seconds(1));
    }
}

/// A transport that never answers; it counts the requests that are not dropped.
#[derive(Clone, Default)]
struct Stuck {
    under_way: Arc<AtomicU64>,
    first: Arc<AtomicBool>,
    service: Service,
}

impl Transport for Stuck {
    async fn send(
        &self,
        request: http::Request<bytes::Bytes>,
        via: Via<'_>,
    ) -> Result<Answer, TransportError> {
        struct UnderWay(Arc<AtomicU64>);
        impl Drop for UnderWay {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        if !self.first.swap(true, Ordering::SeqCst) {
            return self.service.transport().send(request, via).await;
        }
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _mark = UnderWay(Arc::clone(&self.under_way));
        std::future::pending().await
    }
}

#[tokio::test]
async fn dropping_the_last_handle_ends_what_goes_on_in_the_background() {
    let clock = ManualClock::at(NOW);
    let stuck = Stuck { service: Service::new(r#""expires_in":3600,"refresh_in":1000"#), ..Stuck::default() };
    let client = builder(&clock, stuck.clone()).build().unwrap();
    let clone = client.clone();
    token(&client).await;
    clock.advance(seconds(2_000));
    token(&client).await;
    until("a refresh under way", || stuck.under_way.load(Ordering::SeqCst) == 1).await;
    drop(client);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stuck.under_way.load(Ordering::SeqCst), 1, "a clone still exists");
    drop(clone);
    until("the refresh dropped", || stuck.under_way.load(Ordering::SeqCst) == 0).await;
}

/// A resource can be used without its client, and Leg 2 contains Leg 1.
#[tokio::test]
async fn background_work_of_a_resource_ends_with_it_and_so_does_that_of_both_legs() {
    let (pair, service) = (Pair::new(), OneByOne::default());
    let builder = || {
        let builder = Client::builder(pair.authority(), APP).with_transport(service.clone());
        builder.with_clock(pair.clock().clone())
    };
    let leg1 = builder().with_certificate(pair.certificate()).build().unwrap();
    let leg2 = builder().with_assertions(leg1).build().unwrap();
    let resource = leg2.resource(&vault());
    let first = tokio::spawn(async move {
        let token = resource.token().await.unwrap();
        (token, resource)
    });
    for number in 1..=2 {
        service.came(number).await;
        service.answer(number);
    }
    let (first, resource) = first.await.unwrap();
    pair.clock().advance(seconds(2_000));
    assert_eq!(resource.token().await.unwrap(), first);
    service.came(3).await;
    assert!(service.body(3).contains("AzureADTokenExchange"), "Leg 1 is under way");
    drop(leg2);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.under_way(), 1, "the resource still exists");
    drop(resource);
    until("Leg 1 dropped", || service.under_way() == 0).await;
}

#[tokio::test]
async fn who_needs_the_token_joins_the_refresh_in_the_background() {
    let clock = ManualClock::at(NOW);
    let stuck = Stuck { service: Service::new(r#""expires_in":3600,"refresh_in":1000"#), ..Stuck::default() };
    let client = builder(&clock, stuck.clone()).build().unwrap();
    token(&client).await;
    clock.advance(seconds(2_000));
    token(&client).await;
    until("a refresh under way", || stuck.under_way.load(Ordering::SeqCst) == 1).await;
    clock.advance(seconds(1_500));
    let scope = vault();
    let mut waits = std::pin::pin!(std::future::IntoFuture::into_future(client.bearer_token(&scope)));
    assert!(futures_util::poll!(&mut waits).is_pending());
    assert_eq!(stuck.under_way.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_cache_that_keeps_nothing_still_shares_requests_under_way() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let cache = TokenCache::none();
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    assert_eq!((token(&client).await, token(&client).await), ("T1".to_owned(), "T2".to_owned()));
    assert_eq!(service.reason(), "5", "the header reports that there is no cache");
    assert_eq!((cache.len(), cache.statistics().stored), (0, 0));

    let stuck = Stuck { first: Arc::new(AtomicBool::new(true)), ..Stuck::default() };
    let client = builder(&clock, stuck.clone()).with_cache(TokenCache::none()).build().unwrap();
    let scope = vault();
    let both = futures_util::future::join(
        std::future::IntoFuture::into_future(client.bearer_token(&scope)),
        std::future::IntoFuture::into_future(client.bearer_token(&scope)),
    );
    assert!(futures_util::poll!(std::pin::pin!(both)).is_pending());
    // Both callers were dropped, so their request is aborted.
    while stuck.under_way.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_token_can_be_forgotten_by_the_request_it_was_for() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let cache = TokenCache::new();
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    assert!(!client.bearer_token(&vault()).forget().await.unwrap());
    token(&client).await;
    client.bearer_token(&vault()).fmi_path("a").await.unwrap();
    assert!(!client.bearer_token(&vault()).fmi_path("b").forget().await.unwrap());
    let bytes = cache.bytes();
    assert!(client.bearer_token(&vault()).fmi_path("a").forget().await.unwrap());
    assert!(cache.bytes() < bytes);
    assert_eq!((cache.len(), token(&client).await), (1, "T1".to_owned()));
    assert!(client.bearer_token(&vault()).forget().await.unwrap());
    assert_eq!((cache.bytes(), token(&client).await), (0, "T3".to_owned()));
}

#[tokio::test]
async fn bytes_are_bounded_and_a_token_that_is_too_large_by_itself_is_not_kept() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let cache = TokenCache::with_limits(1_000, 4_000);
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    for path in 0..100 {
        client.bearer_token(&vault()).fmi_path(path.to_string()).await.unwrap();
        assert!(cache.bytes() <= 4_000);
    }
    let statistics = cache.statistics();
    assert!(statistics.tokens > 3, "{statistics:?}");
    assert_eq!(statistics.evicted, 100 - statistics.tokens as u64);
    let before = cache.statistics();
    client.bearer_token(&vault()).fmi_path("x".repeat(5_000)).await.unwrap();
    assert_eq!(
        cache.statistics().stored,
        before.stored,
        "other tokens would have been evicted for this token"
    );
    cache.clear();
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
}

/// The entry of each tenant also contains the origin of its token.
#[tokio::test]
async fn bytes_include_what_a_tenant_of_its_own_takes() {
    let (clock, service, cache) =
        (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#), TokenCache::new());
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    let tenant = "11111111-2222-3333-4444-555555555555";
    client.bearer_token(&vault()).fmi_path(tenant).await.unwrap();
    let with_path = cache.bytes();
    client.bearer_token(&vault()).tenant(TenantId::parse(tenant).unwrap()).await.unwrap();
    let with_tenant = cache.bytes() - with_path;
    let endpoint = client.bearer_token(&vault()).await.unwrap().details().endpoint;
    assert!(with_tenant > with_path + endpoint.len(), "{with_tenant} and {with_path}");
}

/// The new token is needed now. The evicted tokens can be requested again, although they expire later.
#[tokio::test]
async fn the_token_that_just_came_is_kept_though_all_others_end_later() {
    for cache in [TokenCache::with_capacity(2), TokenCache::with_limits(100, 1_500)] {
        let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":86400"#));
        let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
        for path in ["a", "b", "c", "d", "e", "f"] {
            client.bearer_token(&vault()).fmi_path(path).await.unwrap();
        }
        let evicted = cache.statistics().evicted;
        assert!(evicted > 0, "the cache is full");
        service.gives(r#""expires_in":3600"#);
        for source in [Source::Service, Source::Cache, Source::Cache] {
            let token = client.bearer_token(&vault()).fmi_path("g").await.unwrap();
            assert_eq!(token.details().source, source);
        }
        assert_eq!(cache.statistics().evicted, evicted + 1);
    }
}

/// A clock that panics on demand, as an example of the application's code.
#[derive(Clone)]
struct Panicking(ManualClock, Arc<AtomicBool>);

impl Clock for Panicking {
    fn now(&self) -> UnixTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        assert!(!self.1.load(Ordering::SeqCst), "a panic on demand");
        self.0.monotonic()
    }
}

#[tokio::test]
async fn a_panic_in_a_callers_code_is_an_error_for_all_who_wait_and_the_next_call_works() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let panics = Arc::new(AtomicBool::new(true));
    let client = builder(&clock, service.transport())
        .with_clock(Panicking(clock.clone(), Arc::clone(&panics)))
        .build()
        .unwrap();
    let scope = vault();
    let all = (0..20).map(|_| std::future::IntoFuture::into_future(client.bearer_token(&scope)));
    for result in futures_util::future::join_all(all).await {
        let error = result.unwrap_err();
        assert_eq!(error.code(), "provider_panicked");
        assert!(!error.is_transient() && error.fix().contains("stderr"), "{error}");
    }
    panics.store(false, Ordering::SeqCst);
    assert_eq!(token(&client).await, "T1");
}

/// Ten thousand tasks share one request, and each sees the source of its token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tasks_that_ask_for_one_key_cost_one_request() {
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let cache = TokenCache::new();
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    let tasks: Vec<_> = (0..10_000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.bearer_token(&vault()).await.unwrap().details().source })
        })
        .collect();
    let mut by_service = 0;
    for task in tasks {
        by_service += u64::from(task.await.unwrap() == Source::Service);
    }
    assert_eq!((service.asked(), by_service), (1, 1));
    let statistics = cache.statistics();
    assert_eq!(statistics.hits + statistics.misses, 10_000);
    assert!(statistics.misses > statistics.joined);
}
