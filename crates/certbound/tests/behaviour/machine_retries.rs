//! Tests of retries to a platform: their causes, their waits, and the number of parallel requests.

use std::future::IntoFuture as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use certbound::clock::Clock;
use certbound::error::{Phase, TransportError};
use certbound::managed_identity::ManagedIdentityBuilder;
use certbound::retry::RetryPolicy;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{ManagedIdentity, ResourceScope, Transport, UnixTime};
use certbound_testkit::{AnsweringTransport, ManualClock, ScriptedTransport};

use crate::two_leg::vault;

const TOKEN: &str = r#"{"access_token":"T","expires_on":"1785003600","token_type":"Bearer"}"#;
/// Sat, 25 Jul 2026 17:20:00 GMT
const NOW: UnixTime = UnixTime::from_secs(1_785_000_000);

/// Returns a builder for an identity of a virtual machine, or of App Service.
fn builder(hosted: bool, transport: impl Transport) -> ManagedIdentityBuilder {
    let builder = ManagedIdentity::system_assigned().with_transport(transport);
    builder.with_environment(move |name| match name {
        "IDENTITY_ENDPOINT" if hosted => Some("http://127.0.0.1:41/token".to_owned()),
        "IDENTITY_HEADER" if hosted => Some("H".to_owned()),
        _ => None,
    })
}

#[tokio::test]
async fn the_waits_are_those_of_the_table() {
    let (imds, hosted) = (false, true);
    for (hosted, status, after, waits) in [
        (imds, 404, "30", vec![1, 2, 4]),
        (imds, 429, "30", vec![1, 2, 4]),
        (imds, 502, "", vec![1, 2, 4]),
        (imds, 410, "", vec![10; 7]),
        (imds, 400, "5", vec![]),
        (hosted, 404, "", vec![1; 3]),
        (hosted, 429, "5", vec![5; 3]),
        (hosted, 429, "Sat, 25 Jul 2026 17:20:30 GMT", vec![30, 1, 1]),
        (hosted, 429, "Sat, 25 Jul 2026 17:00:00 GMT", vec![1; 3]),
        (hosted, 503, "86400", vec![60; 3]),
        (hosted, 503, "soon", vec![1; 3]),
        (hosted, 502, "5", vec![]),
        (hosted, 410, "5", vec![]),
    ] {
        let clock = ManualClock::at(NOW);
        let transport = AnsweringTransport::new(move |_| (status, String::new()));
        let transport =
            if after.is_empty() { transport } else { transport.with_header("retry-after", after) };
        let identity = builder(hosted, transport.clone()).with_clock(clock.clone()).build().unwrap();
        identity.bearer_token(&vault()).await.unwrap_err();
        let waited: Vec<u64> = clock.waited().iter().map(Duration::as_secs).collect();
        assert_eq!(waited, waits, "{hosted} {status} {after}");
        assert_eq!(transport.seen().len(), waits.len() + 1, "{hosted} {status} {after}");
    }
}

fn late(phase: Phase) -> TransportError {
    TransportError::TimedOut { host: "h".to_owned(), phase, limit: Duration::from_secs(30), proxy: None }
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_asked_again_and_who_cannot_be_reached_is_not() {
    for (hosted, waits) in [(false, [1, 2, 4]), (true, [1, 1, 1])] {
        let clock = ManualClock::at(NOW);
        let transport = ScriptedTransport::default().then_fails(late(Phase::Exchange)).then(200, TOKEN);
        let identity = builder(hosted, transport.clone()).with_clock(clock.clone()).build().unwrap();
        identity.bearer_token(&vault()).await.unwrap();
        assert_eq!(clock.waited(), [Duration::from_secs(1)]);
        // The identity sends four requests in total.
        let clock = ManualClock::at(NOW);
        let transport = (0..5)
            .fold(ScriptedTransport::default(), |transport, _| transport.then_fails(late(Phase::Exchange)));
        let identity = builder(hosted, transport.clone()).with_clock(clock.clone()).build().unwrap();
        let error = identity.bearer_token(&vault()).await.unwrap_err();
        assert_eq!((error.code(), error.is_transient(), transport.left()), ("request_timeout", true, 1));
        assert_eq!(clock.waited(), waits.map(Duration::from_secs));
        let (host, reason) = ("h".to_owned(), certbound::error::Cause::from("r"));
        for error in [
            late(Phase::Connect),
            TransportError::Connect { host: host.clone(), reason: reason.clone() },
            TransportError::Interrupted { host: host.clone(), reason: reason.clone() },
            TransportError::Tls { host, reason },
        ] {
            let transport = ScriptedTransport::default().then_fails(error).then(200, TOKEN);
            let identity =
                builder(hosted, transport.clone()).with_clock(ManualClock::at(NOW)).build().unwrap();
            let error = identity.bearer_token(&vault()).await.unwrap_err();
            assert_eq!((error.code(), transport.left()), ("managed_identity_unreachable_network", 1));
        }
    }
}

/// A clock whose waits do not end until the test releases them.
#[derive(Clone)]
pub(crate) struct Stuck(pub(crate) ManualClock, pub(crate) Arc<AtomicBool>);

impl Clock for Stuck {
    fn now(&self) -> UnixTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn wait(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.1.load(Ordering::SeqCst) {
            true => Box::pin(std::future::pending()),
            false => self.0.wait(time),
        }
    }
}

#[tokio::test]
async fn without_retries_the_platform_is_asked_once() {
    for (hosted, status) in [(false, 410), (false, 503), (true, 429)] {
        let clock = ManualClock::at(NOW);
        let transport = AnsweringTransport::new(move |_| (status, String::new()));
        let builder = builder(hosted, transport.clone()).with_clock(clock.clone());
        let identity = builder.with_retry_policy(RetryPolicy::none()).build().unwrap();
        identity.bearer_token(&vault()).await.unwrap_err();
        assert_eq!((transport.seen().len(), clock.waited()), (1, Vec::new()), "{hosted} {status}");
    }
}

#[tokio::test]
async fn who_gives_up_while_it_waits_leaves_nothing_behind() {
    let transport = AnsweringTransport::new(|_| (503, String::new()));
    let clock = Stuck(ManualClock::at(NOW), Arc::new(AtomicBool::new(true)));
    let identity = builder(false, transport.clone()).with_clock(clock.clone()).build().unwrap();
    let scope = vault();
    let mut waiting = Box::pin(identity.bearer_token(&scope).into_future());
    for _ in 0..50 {
        assert!(futures_util::poll!(&mut waiting).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(transport.seen().len(), 1);
    drop(waiting);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(transport.seen().len(), 1);
    // The next call has all its retries.
    clock.1.store(false, Ordering::SeqCst);
    identity.bearer_token(&scope).await.unwrap_err();
    assert_eq!((transport.seen().len(), clock.0.waited().len()), (5, 3));
}

/// Delays each request, and records the greatest number of concurrent requests.
#[derive(Clone, Default)]
struct Crowded(Arc<Crowd>);

#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

struct Leaves<'a>(&'a Crowd);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Transport for Crowded {
    async fn send(&self, _: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        let now = self.0.now.fetch_add(1, Ordering::SeqCst) + 1;
        let _leaves = Leaves(&self.0);
        self.0.most.fetch_max(now, Ordering::SeqCst);
        self.0.all.fetch_add(1, Ordering::SeqCst);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        Ok(Answer { response: http::Response::new(Bytes::from(TOKEN)), tls: TlsFacts::default() })
    }
}

fn scopes() -> Vec<ResourceScope> {
    (0..30).map(|n| ResourceScope::parse(&format!("https://r{n}.example/.default")).unwrap()).collect()
}

#[tokio::test]
async fn the_metadata_service_has_five_calls_at_once_and_other_platforms_as_many_as_come() {
    for (hosted, most) in [(false, 5), (true, 30)] {
        let transport = Crowded::default();
        let identity = builder(hosted, transport.clone()).with_clock(ManualClock::at(NOW)).build().unwrap();
        let scopes = scopes();
        let all = scopes.iter().map(|scope| async { identity.bearer_token(scope).await.unwrap() });
        assert_eq!(futures_util::future::join_all(all).await.len(), 30);
        assert_eq!(transport.0.most.load(Ordering::SeqCst), most);
    }
}

#[tokio::test]
async fn who_gives_up_in_the_crowd_makes_room() {
    let transport = Crowded::default();
    let identity = builder(false, transport.clone()).with_clock(ManualClock::at(NOW)).build().unwrap();
    let scopes = scopes();
    let mut all: Vec<_> =
        scopes.iter().map(|scope| Box::pin(identity.bearer_token(scope).into_future())).collect();
    for waiting in &mut all {
        assert!(futures_util::poll!(waiting).is_pending());
    }
    // Five requests were sent; the other callers wait.
    assert_eq!(transport.0.all.load(Ordering::SeqCst), 5);
    drop(all);
    // Their requests are aborted.
    while transport.0.now.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    identity.bearer_token(&scopes[0]).await.unwrap();
    assert_eq!(transport.0.all.load(Ordering::SeqCst), 6);
}
