//! Tests of token requests that are sent again: the failures, the number of attempts, and the error for the caller.

use std::future::IntoFuture as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certbound::error::{Cause, Phase, TransportError};
use certbound::observe::{ObservedRequest, Observer};
use certbound::retry::RetryPolicy;
use certbound::{BoundAssertion, Error, Secret, UnixTime};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, LegKind};
use certbound_testkit::{ManualClock, Pair, ScriptedTransport};

use crate::machine_retries::Stuck;
use crate::refresh::{NOW, retrying, seconds};
use crate::two_leg::vault;

const TOKEN: &str = r#"{"token_type":"Bearer","access_token":"T","expires_in":3600}"#;
const BUSY: &str = r#"{"error":"temporarily_unavailable"}"#;

fn script() -> ScriptedTransport {
    ScriptedTransport::default()
}

/// Requests a token. Returns the result, the number of requests, and the waits.
async fn ask(transport: &ScriptedTransport) -> (Result<u32, Error>, usize, Vec<Duration>) {
    let clock = ManualClock::at(NOW);
    let client = retrying(&clock, transport.clone()).build().unwrap();
    let token = client.bearer_token(&vault()).await;
    let attempts = token.map(|token| token.details().legs[0].attempts);
    (attempts, transport.requests().len(), clock.waited())
}

fn is_one_wait(waits: &[Duration]) -> bool {
    let limits = seconds(1)..=Duration::from_millis(1_500);
    matches!(waits, [wait] if limits.contains(wait))
}

#[tokio::test]
async fn a_5xx_without_retry_after_is_repeated_once_and_no_other_status() {
    for status in [500, 501, 502, 503, 504, 511, 599] {
        for garbage in [None, Some("soon"), Some("-5"), Some("")] {
            let transport = match garbage {
                None => script().then(status, BUSY),
                Some(value) => script().then_with(status, BUSY, ("retry-after", value)),
            };
            let transport = transport.then(200, TOKEN);
            let (token, requests, waits) = ask(&transport).await;
            assert_eq!((token.unwrap(), requests), (2, 2), "{status} {garbage:?}");
            assert!(is_one_wait(&waits), "{waits:?}");
            let [first, second] = &transport.requests()[..] else { panic!("two requests") };
            assert_eq!((first.headers(), first.body()), (second.headers(), second.body()));
        }
    }
    for status in [400, 401, 403, 404, 408, 409, 425, 429, 302, 307] {
        let (token, requests, waits) = ask(&script().then(status, BUSY).then(200, TOKEN)).await;
        let error = token.unwrap_err();
        assert_eq!((requests, waits), (1, Vec::new()), "{status} {error}");
        assert!(!error.to_string().contains("attempts"), "{error}");
    }
}

#[tokio::test]
async fn retry_after_in_each_of_its_forms_ends_the_attempts() {
    let date = "Sat, 25 Jul 2026 17:21:00 GMT";
    for (value, asked) in [
        ("7", 7_000),
        ("1.5", 1_500),
        ("0", 0),
        ("86400", 3_600_000),
        (date, 60_000),
        ("Fri, 24 Jul 2026 00:00:00 GMT", 0),
    ] {
        for status in [500, 503] {
            let transport = script().then_with(status, BUSY, ("retry-after", value)).then(200, TOKEN);
            let (token, requests, waits) = ask(&transport).await;
            let error = token.unwrap_err();
            assert_eq!((requests, waits), (1, Vec::new()), "{status} {value}");
            assert_eq!(error.retry_after(), Some(Duration::from_millis(asked)), "{value}");
        }
    }
    let (token, ..) = ask(&script().then_with(503, "", ("retry-after", "1.5"))).await;
    let error = token.unwrap_err().to_string();
    assert!(error.contains("asks the client to wait 2 s"), "{error}");
}

#[tokio::test]
async fn a_failure_of_the_network_is_repeated_if_nothing_was_sent_or_the_answer_is_late() {
    let host = || "h".to_owned();
    let reset = || Cause::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    let late = |phase| TransportError::TimedOut { host: host(), phase, limit: seconds(30), proxy: None };
    let proxy = |reason| TransportError::Proxy { host: host(), proxy: "p".to_owned(), reason };
    for (failure, repeats) in [
        (late(Phase::Connect), true),
        (late(Phase::Exchange), true),
        (TransportError::Connect { host: host(), reason: "no route".into() }, true),
        (proxy(reset()), true),
        (TransportError::Tls { host: host(), reason: reset() }, true),
        (TransportError::ProxyRefused { host: host(), proxy: "p".to_owned(), status: 407 }, false),
        (TransportError::ProxyRefused { host: host(), proxy: "p".to_owned(), status: 502 }, false),
        (TransportError::Tls { host: host(), reason: "not trusted".into() }, false),
        // These connections broke after the request was sent, perhaps after its body.
        (TransportError::Interrupted { host: host(), reason: reset() }, false),
        (TransportError::EndedAfterCertificate { host: host(), reason: reset() }, false),
        (TransportError::TooLarge { host: host(), limit: 1 }, false),
        (TransportError::CertificateNotRequested { host: host() }, false),
    ] {
        let (token, requests, waits) = ask(&script().then_fails(failure.clone()).then(200, TOKEN)).await;
        assert_eq!((token.is_ok(), requests), (repeats, if repeats { 2 } else { 1 }), "{failure}");
        assert_eq!(is_one_wait(&waits), repeats, "{failure} {waits:?}");
    }
}

#[tokio::test]
async fn two_failures_are_the_error_whatever_they_are() {
    let late = TransportError::TimedOut {
        host: "h".to_owned(),
        phase: Phase::Exchange,
        limit: seconds(30),
        proxy: None,
    };
    for (transport, code) in [
        (script().then(503, BUSY).then(500, ""), "service_not_available"),
        (script().then(503, BUSY).then_fails(late.clone()), "request_timeout"),
        (script().then_fails(late.clone()).then_fails(late.clone()), "request_timeout"),
        (script().then_fails(late).then_with(503, BUSY, ("retry-after", "9")), "temporarily_unavailable"),
        (script().then(503, BUSY).then(400, r#"{"error":"invalid_scope"}"#), "invalid_scope"),
    ] {
        let transport = transport.then(200, TOKEN);
        let (token, requests, waits) = ask(&transport).await;
        let error = token.unwrap_err();
        assert_eq!((error.code(), requests, transport.left()), (code, 2, 1));
        assert!(is_one_wait(&waits), "{waits:?}");
        assert_eq!(error.target().unwrap().attempts, 2);
        assert!(error.to_string().ends_with(&format!(", 2 attempts) [{code}]")), "{error}");
    }
}

#[tokio::test]
async fn without_retries_a_request_is_sent_once() {
    let clock = ManualClock::at(NOW);
    let transport = script().then(503, BUSY).then(200, TOKEN);
    let builder = retrying(&clock, transport.clone()).with_retry_policy(RetryPolicy::none());
    let error = builder.build().unwrap().bearer_token(&vault()).await.unwrap_err();
    assert_eq!((error.code(), transport.left()), ("temporarily_unavailable", 1));
    assert_eq!((error.target().unwrap().attempts, clock.waited()), (1, Vec::new()));
}

/// Records the attempts, and the statuses of their answers.
#[derive(Default)]
struct Recorder(Mutex<Vec<Seen>>);

/// The leg and the number of an attempt, and the status of its answer.
type Seen = (Option<certbound::error::Leg>, u32, Option<u16>);

impl Observer for Recorder {
    fn before_request(&self, request: &ObservedRequest) {
        self.0.lock().unwrap().push((request.leg, request.attempt, None));
    }

    fn after_answer(&self, request: &ObservedRequest, status: u16) {
        self.0.lock().unwrap().push((request.leg, request.attempt, Some(status)));
    }
}

fn unavailable() -> FaultResult {
    FaultResult::Status { status: 503, body: String::new(), retry_after: None, headers: [].into() }
}

#[tokio::test]
async fn each_leg_is_repeated_by_itself_with_the_same_assertion() {
    use certbound::error::Leg::{One, Two};

    let pair = Pair::new();
    for leg in [LegKind::Leg1, LegKind::Leg2] {
        pair.emulator().add_fault(Fault::once(Condition::leg(leg), unavailable()));
    }
    let recorder = Arc::new(Recorder::default());
    let token = pair.leg2().bound_token(&vault()).observe(recorder.clone()).await.unwrap();
    let attempts: Vec<_> = token.details().legs.iter().map(|leg| leg.attempts).collect();
    assert_eq!(attempts, [2, 2]);
    let expected = [One, Two].map(|leg| {
        [(1, None), (1, Some(503)), (2, None), (2, Some(200))]
            .map(|(attempt, status)| (Some(leg), attempt, status))
    });
    assert_eq!(*recorder.0.lock().unwrap(), expected.concat());
    assert_eq!(pair.clock().waited().len(), 2);
}

/// The service would refuse the assertion, and that refusal would hide the transient failure. After a transient
/// failure, the cache returns an older token.
#[tokio::test]
async fn an_assertion_that_would_have_expired_is_not_sent_again() {
    for (left, repeats) in [(31, false), (32, false), (33, true)] {
        let pair = Pair::new();
        let assertion = pair.leg1().assertion().await.unwrap();
        let jwt = Secret::new(assertion.secret().expose());
        let assertion = BoundAssertion::from_jwt(jwt, pair.certificate()).unwrap();
        pair.clock().set(UnixTime::from_secs(assertion.expires_at().as_secs() - left));
        pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Leg2), unavailable()));
        let leg2 = pair.builder(builtin::APP).with_assertions(assertion).build().unwrap();
        let token = leg2.bound_token(&vault()).await;
        assert_eq!(token.is_ok(), repeats, "{left}");
        if let Err(error) = token {
            assert_eq!((error.code(), error.is_transient()), ("service_not_available", true));
        }
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_during_the_wait_ends_it() {
    let clock = Stuck(ManualClock::at(NOW), Arc::new(AtomicBool::new(true)));
    let transport = script().then(503, BUSY).then(503, BUSY).then(200, TOKEN);
    let client = retrying(&clock.0, transport.clone()).with_clock(clock.clone()).build().unwrap();
    let scope = vault();
    let mut waiting = Box::pin(client.bearer_token(&scope).into_future());
    for _ in 0..50 {
        assert!(futures_util::poll!(&mut waiting).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(transport.left(), 2);
    drop(waiting);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(transport.left(), 2);
    clock.1.store(false, Ordering::SeqCst);
    let token = client.bearer_token(&scope).await.unwrap();
    assert_eq!((token.details().legs[0].attempts, transport.left()), (2, 0));
}

#[tokio::test]
async fn parallel_callers_share_the_retry() {
    let clock = ManualClock::at(NOW);
    let transport = script().then(503, BUSY).then(200, TOKEN);
    let client = retrying(&clock, transport.clone()).build().unwrap();
    let scope = vault();
    let all = (0..20).map(|_| client.bearer_token(&scope).into_future());
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!((transport.left(), clock.waited().len()), (0, 1));
}

/// A managed identity's bound token is requested from the token service too.
#[tokio::test]
async fn the_token_request_of_a_machine_is_repeated_once() {
    let pair = Pair::new();
    pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Direct), unavailable()));
    let identity = pair.managed_identity(certbound::managed_identity::IdentityId::System).build().unwrap();
    let token = identity.bound_token(&vault()).await.unwrap();
    assert_eq!(token.details().legs[0].attempts, 2);
    assert!(is_one_wait(&pair.clock().waited()));
}
