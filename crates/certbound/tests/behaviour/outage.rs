//! A service that is unavailable or does not answer while an old token is still valid: no caller waits long.

use std::future::IntoFuture as _;

use certbound::cache::Source;
use certbound::clock::Clock as _;
use certbound::credential::{ByCertificate, BySecret};
use certbound::retry::RetryPolicy;
use certbound::{BearerToken, BoundToken, Client, TokenCache};
use certbound_testkit::{ManualClock, Pair};
use futures_util::FutureExt as _;

use crate::overlap::OneByOne;
use crate::refresh::{NOW, builder, seconds, until};
use crate::rotation::{Unseen, issue, watched};
use crate::two_leg::vault;

async fn with_a_token() -> (ManualClock, OneByOne, TokenCache, Client<BySecret>) {
    let (clock, service, cache) = (ManualClock::at(NOW), OneByOne::default(), TokenCache::new());
    let client = builder(&clock, service.clone()).with_cache(cache.clone()).build().unwrap();
    let first = begin(&client);
    service.came(1).await;
    service.answer(1);
    assert_eq!(first.await.unwrap().secret().expose(), "T1");
    (clock, service, cache, client)
}

fn begin(client: &Client<BySecret>) -> tokio::task::JoinHandle<BearerToken> {
    let client = client.clone();
    tokio::spawn(async move { client.bearer_token(&vault()).await.unwrap() })
}

/// Returns the token if the call does not have to wait.
fn at_once(client: &Client<BySecret>) -> Option<String> {
    let token = client.bearer_token(&vault()).into_future().now_or_never()?;
    Some(token.unwrap().secret().expose().to_owned())
}

async fn turns() {
    for _ in 0..300 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_service_that_hangs_in_the_last_minutes_keeps_nobody_for_long() {
    let (clock, service, cache, client) = with_a_token().await;
    clock.advance(seconds(3_400));
    let first = begin(&client);
    service.came(2).await;
    let began = clock.now();
    let first = first.await.unwrap();
    assert_eq!((first.secret().expose(), first.details().source), ("T1", Source::Cache));
    assert_eq!(clock.now(), began.plus(seconds(2)), "the caller waited for two seconds");
    assert_eq!(cache.statistics().in_outage, 1);
    // The other callers do not wait for the service, and there is only one request.
    for _ in 0..50 {
        assert_eq!(at_once(&client).as_deref(), Some("T1"));
        clock.advance(seconds(1));
        tokio::task::yield_now().await;
    }
    assert_eq!((service.asked(), service.under_way()), (2, 1));
    service.answer(2);
    until("the new token", || at_once(&client).as_deref() == Some("T2")).await;
    assert_eq!(service.asked(), 2);
    assert_eq!(cache.statistics().refreshes, 0, "a joined request is not counted as a refresh");
}

#[tokio::test]
async fn a_token_that_is_over_is_not_served_however_the_service_hangs() {
    let (clock, service, _, client) = with_a_token().await;
    clock.advance(seconds(3_400));
    assert_eq!(begin(&client).await.unwrap().secret().expose(), "T1");
    // A caller that needs a new token does not get the old token.
    let scope = vault();
    let mut forced = std::pin::pin!(client.bearer_token(&scope).force_refresh().into_future());
    for _ in 0..300 {
        assert!(futures_util::poll!(&mut forced).is_pending());
        tokio::task::yield_now().await;
    }
    clock.set(NOW.plus(seconds(3_600)));
    let waits = begin(&client);
    turns().await;
    assert!(!waits.is_finished());
    service.answer(2);
    assert_eq!(waits.await.unwrap().secret().expose(), "T2");
    assert_eq!(service.asked(), 3);
}

/// Each attempt takes as long as both legs may take. The next attempt starts 30 s after the end of the attempt.
#[tokio::test]
async fn attempts_that_take_their_time_make_nobody_wait() {
    let (clock, service, cache, client) = with_a_token().await;
    clock.advance(seconds(3_300));
    assert_eq!(begin(&client).await.unwrap().secret().expose(), "T1");
    let mut began = vec![clock.now()];
    while clock.now() < NOW.plus(seconds(3_600)) {
        assert_eq!(at_once(&client).as_deref(), Some("T1"), "at {}", clock.now());
        clock.advance(seconds(1));
        tokio::task::yield_now().await;
        if service.asked() > 1 + began.len() {
            began.push(clock.now());
        }
        if began.last().is_some_and(|began| clock.now() == began.plus(seconds(70))) {
            service.fail(service.asked());
        }
        turns().await;
    }
    assert!((2..=4).contains(&began.len()), "{began:?}");
    assert_eq!(cache.statistics().misses, 2);
}

fn bound_at_once(client: &Client<ByCertificate>) -> Option<BoundToken> {
    client.bound_token(&vault()).into_future().now_or_never().map(Result::unwrap)
}

#[tokio::test]
async fn after_a_rotation_the_token_before_is_served_at_once_while_the_service_is_away() {
    let pair = Pair::new();
    let (one, two) = (issue(&pair), issue(&pair));
    let file = Unseen::new(&one);
    let (certificate, _) = watched(certbound::WatchedCertificate::file(file.link()), &pair);
    let (clock, service) = (pair.clock().clone(), OneByOne::default());
    let client = Client::builder(pair.authority(), crate::rotation::APP)
        .with_clock(clock.clone())
        .with_transport(service.clone())
        .with_retry_policy(RetryPolicy::default().without_retries())
        .with_certificate(certificate.clone())
        .build()
        .unwrap();
    let begin = || {
        let client = client.clone();
        tokio::spawn(async move { client.bound_token(&vault()).await })
    };
    let first = begin();
    service.came(1).await;
    service.answer(1);
    let first = first.await.unwrap().unwrap();
    file.write(two.bundle_pem());
    certificate.reload().unwrap();
    // The first caller detects the failure.
    let second = begin();
    service.came(2).await;
    service.fail(2);
    let second = second.await.unwrap().unwrap();
    assert_eq!((&second, second.binding()), (&first, first.binding()));
    // The other callers do not wait, and for 30 s no request is sent.
    for _ in 0..29 {
        assert_eq!(bound_at_once(&client).unwrap(), first);
        clock.advance(seconds(1));
        turns().await;
    }
    assert_eq!(service.asked(), 2);
    clock.advance(seconds(1));
    assert_eq!(bound_at_once(&client).unwrap(), first);
    // A background request is sent and does not end.
    service.came(3).await;
    clock.advance(seconds(1_000));
    assert_eq!(
        begin().await.unwrap().unwrap(),
        first,
        "after a while one caller waits for a new request, but not long"
    );
    assert_eq!(bound_at_once(&client).unwrap(), first);
    assert_eq!(service.asked(), 3);
    service.answer(3);
    until("the token of the new certificate", || bound_at_once(&client).unwrap() != first).await;
    let new = bound_at_once(&client).unwrap();
    assert_eq!(new.binding().thumbprint(), certificate.current().thumbprint());
    // After `forget`, no token of an earlier certificate is returned.
    assert!(client.bound_token(&vault()).forget().await.unwrap());
    assert!(client.bound_token(&vault()).into_future().now_or_never().is_none());
    assert!(!client.bound_token(&vault()).forget().await.unwrap());
}
