//! Requests that are not sent, because the answer to an equal request asked to wait.

use std::future::IntoFuture as _;
use std::time::Duration;

use certbound::cache::Source;
use certbound::error::{Leg, PlatformError};
use certbound::managed_identity::{IdentityId, MachineSource, ManagedIdentityBuilder};
use certbound::retry::RetryPolicy;
use certbound::{Authority, Client, Cloud, Error, ManagedIdentity, Region, ResourceScope, Secret, TenantId};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, LegKind, PlatformEndpoint};
use certbound_testkit::{AnsweringTransport, ManualClock, Pair, ScriptedTransport};

use crate::refresh::{NOW, retrying, seconds};
use crate::two_leg::vault;

const BUSY: &str =
    r#"{"error":"temporarily_unavailable","error_description":"AADSTS90033: Busy.","correlation_id":"c"}"#;
const TOKEN: &str = r#"{"token_type":"Bearer","access_token":"T","expires_in":3600}"#;
/// The secret of App Service.
const SECRET: &str = "the-secret-of-app-service";
const MACHINE_TOKEN: &str = r#"{"access_token":"T","expires_on":"1785003600","token_type":"Bearer"}"#;

fn graph() -> ResourceScope {
    ResourceScope::graph(Cloud::Public)
}

fn asks_to_wait(status: u16, value: &str) -> ScriptedTransport {
    ScriptedTransport::default().then_with(status, BUSY, ("retry-after", value))
}

#[tokio::test]
async fn after_each_status_with_retry_after_an_equal_request_waits() {
    for status in [307, 400, 401, 403, 404, 408, 429, 500, 503] {
        let clock = ManualClock::at(NOW);
        let transport = asks_to_wait(status, "30").then(200, TOKEN);
        let client = retrying(&clock, transport.clone()).build().unwrap();
        let first = client.bearer_token(&vault()).await.unwrap_err();
        assert!(!first.is_throttled(), "{first}");
        for left in (1..=30).rev() {
            let error = client.bearer_token(&vault()).await.unwrap_err();
            assert!(error.is_throttled() && error.is_transient(), "{status}: {error}");
            assert_eq!((error.code(), error.retry_after()), (first.code(), Some(seconds(left))));
            clock.advance(seconds(1));
        }
        assert_eq!(transport.left(), 1);
        client.bearer_token(&vault()).await.unwrap();
        assert_eq!(transport.left(), 0);
    }
}

#[tokio::test]
async fn retry_after_in_each_of_its_forms_is_kept_to() {
    for (value, wait) in [
        ("30", 30),
        ("1.5", 2),
        ("0.001", 1),
        ("Sat, 25 Jul 2026 17:21:00 GMT", 60),
        ("86400", 3_600),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600),
        // These values request no wait.
        ("0", 0),
        ("Fri, 24 Jul 2026 00:00:00 GMT", 0),
        ("-5", 0),
        ("soon", 0),
    ] {
        let clock = ManualClock::at(NOW);
        let transport = asks_to_wait(429, value).then(200, TOKEN);
        let client = retrying(&clock, transport.clone()).build().unwrap();
        client.bearer_token(&vault()).await.unwrap_err();
        if wait > 0 {
            clock.advance(seconds(wait - 1));
            assert!(client.bearer_token(&vault()).await.unwrap_err().is_throttled(), "{value}");
            clock.advance(seconds(1));
        }
        client.bearer_token(&vault()).await.unwrap();
    }
}

#[tokio::test]
async fn the_error_has_the_facts_of_the_answer_and_says_that_nothing_was_sent() {
    let authority = Authority::public(TenantId::parse("contoso.com").unwrap());
    let clock = ManualClock::at(NOW);
    let client = Client::builder(authority.with_region(Region::parse("westus3").unwrap()), builtin::APP)
        .with_transport(asks_to_wait(429, "30"))
        .with_clock(clock.clone())
        .with_secret(Secret::new("s"))
        .build()
        .unwrap();
    let first = client.bearer_token(&vault()).await.unwrap_err();
    clock.advance(seconds(3));
    let error = client.bearer_token(&vault()).await.unwrap_err();
    let Error::Throttled { first: answered, left } = &error else { panic!("{error:?}") };
    assert_eq!((&**answered, *left), (&first, seconds(27)));
    assert_eq!(error.host(), Some("westus3.login.microsoft.com"));
    assert_eq!(error.region().map(Region::as_str), Some("westus3"));
    assert_eq!(error.tenant().map(TenantId::as_str), Some("contoso.com"));
    assert_eq!((error.correlation_id(), error.aadsts(), error.leg()), (Some("c"), Some(90_033), None));
    assert_eq!(error.endpoint(), first.endpoint());
    let text = error.to_string();
    for fact in ["AADSTS90033: Busy", "this request was not sent", "27 s are left", "region westus3"] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    assert!(error.fix().starts_with("wait"), "{}", error.fix());
}

#[tokio::test]
async fn a_retry_waits_too_if_an_equal_request_was_throttled_before_it() {
    let clock = ManualClock::at(NOW);
    let transport = ScriptedTransport::default().then(503, BUSY);
    let transport = transport.then_with(429, BUSY, ("retry-after", "60")).then(200, TOKEN);
    let client = retrying(&clock, transport.clone()).build().unwrap();
    let scope = vault();
    let plain = client.bearer_token(&scope).into_future();
    let forced = client.bearer_token(&scope).force_refresh().into_future();
    let (plain, forced) = tokio::join!(plain, forced);
    let (plain, forced) = (plain.unwrap_err(), forced.unwrap_err());
    assert!(!forced.is_throttled(), "{forced}");
    let Error::Throttled { first, .. } = &plain else { panic!("{plain:?}") };
    assert_eq!((&**first, transport.left()), (&forced, 1));
}

/// Each of these requests, or its client, differs from the refused request.
#[tokio::test]
async fn only_an_equal_request_waits() {
    let clock = ManualClock::at(NOW);
    let transport = (0..8).fold(asks_to_wait(429, "60"), |transport, _| transport.then(200, TOKEN));
    let client = retrying(&clock, transport.clone()).build().unwrap();
    let throttled = async |at: &str| {
        assert!(client.bearer_token(&vault()).await.unwrap_err().is_throttled(), "{at}");
        assert!(client.bearer_token(&vault()).force_refresh().await.unwrap_err().is_throttled(), "{at}");
    };
    client.bearer_token(&vault()).await.unwrap_err();
    throttled("before").await;
    let (scope, other) = (vault(), TenantId::parse("fabrikam.com").unwrap());
    let mtls = Authority::parse("https://login.microsoftonline.com/contoso2.example").unwrap();
    client.bearer_token(&graph()).await.unwrap();
    throttled("scope").await;
    client.bearer_token(&scope).tenant(other).await.unwrap();
    throttled("tenant").await;
    client.bearer_token(&scope).authority(mtls).await.unwrap();
    throttled("authority").await;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    client.bearer_token(&scope).claims(claims).force_refresh().await.unwrap();
    client.bearer_token(&scope).client_claims(r#"{"a":{"b":1}}"#).await.unwrap();
    client.bearer_token(&scope).fmi_path("p").await.unwrap();
    client.on_behalf_of(&Secret::new("user"), &scope).await.unwrap();
    assert_eq!(transport.left(), 1);
    // Each client stores its own answers.
    retrying(&clock, transport.clone()).build().unwrap().bearer_token(&scope).await.unwrap();
    assert_eq!(transport.left(), 0);
}

/// After the answer with claims, the cache has a token, so this case has a separate test.
#[tokio::test]
async fn equal_claims_wait_and_others_do_not() {
    let clock = ManualClock::at(NOW);
    let transport = asks_to_wait(400, "60").then(200, TOKEN);
    let client = retrying(&clock, transport.clone()).build().unwrap();
    let [one, two] = [r#"{"access_token":{"a":null}}"#, r#"{"access_token":{"b":null}}"#];
    client.bearer_token(&vault()).claims(one).await.unwrap_err();
    assert!(client.bearer_token(&vault()).claims(one).await.unwrap_err().is_throttled());
    client.bearer_token(&vault()).claims(two).await.unwrap();
    assert!(client.bearer_token(&vault()).claims(one).await.unwrap_err().is_throttled());
    assert_eq!(transport.left(), 0);
}

fn waits(status: u16, retry_after: u32) -> FaultResult {
    FaultResult::Status { status, body: String::new(), retry_after: Some(retry_after), headers: [].into() }
}

#[tokio::test]
async fn another_certificate_and_another_kind_of_token_do_not_wait() {
    let pair = Pair::new();
    let client = |certificate| pair.builder(builtin::APP).with_certificate(certificate).build().unwrap();
    let direct = client(pair.certificate());
    pair.emulator().add_fault(Fault::once(Condition::any(), waits(429, 60)));
    direct.bound_token(&vault()).await.unwrap_err();
    assert!(direct.bound_token(&vault()).await.unwrap_err().is_throttled());
    direct.bearer_token(&vault()).await.unwrap();
    client(pair.other_certificate()).bound_token(&vault()).await.unwrap();
    assert!(direct.bound_token(&vault()).await.unwrap_err().is_throttled());
}

/// Both requests are sent to the same endpoint with the same certificate.
#[tokio::test]
async fn a_bearer_token_over_mtls_does_not_wait_for_a_bound_token() {
    let pair = Pair::new();
    let transport = asks_to_wait(429, "60").then(200, TOKEN);
    let builder = pair.builder(builtin::APP).with_transport(transport).with_certificate(pair.certificate());
    let client = builder.bearer_over_mtls().build().unwrap();
    client.bound_token(&vault()).await.unwrap_err();
    assert!(client.bound_token(&vault()).await.unwrap_err().is_throttled());
    client.bearer_token(&vault()).await.unwrap();
}

#[tokio::test]
async fn after_a_rotation_the_new_certificate_does_not_wait() {
    use crate::rotation::{Unseen, issue, watched};

    let pair = Pair::new();
    let [first, second] = [issue(&pair), issue(&pair)];
    let files = Unseen::new(&first);
    let (certificate, _) = watched(certbound::WatchedCertificate::file(files.link()), &pair);
    let client = pair.builder(crate::rotation::APP).with_certificate(certificate.clone()).build().unwrap();
    pair.emulator().add_fault(Fault::once(Condition::any(), waits(429, 60)));
    client.bound_token(&vault()).await.unwrap_err();
    assert!(client.bound_token(&vault()).await.unwrap_err().is_throttled());
    files.write(second.bundle_pem());
    assert!(certificate.reload().unwrap());
    client.bound_token(&vault()).await.unwrap();
}

#[tokio::test]
async fn a_token_that_still_works_is_served_meanwhile() {
    for status in [400, 429, 503] {
        let clock = ManualClock::at(NOW);
        let transport = ScriptedTransport::default()
            .then(200, TOKEN)
            .then_with(status, BUSY, ("retry-after", "600"))
            .then(200, TOKEN);
        let client = retrying(&clock, transport.clone()).build().unwrap();
        client.bearer_token(&vault()).await.unwrap();
        clock.advance(seconds(3_400));
        while clock.waited().is_empty() && certbound::clock::Clock::now(&clock) < NOW.plus(seconds(3_600)) {
            let token = client.bearer_token(&vault()).await.unwrap();
            assert_eq!((token.details().source, transport.left()), (Source::Cache, 1), "{status}");
            clock.advance(seconds(1));
        }
        // The token has expired, and 400 s of the wait are left.
        let error = client.bearer_token(&vault()).await.unwrap_err();
        assert_eq!((error.is_throttled(), error.retry_after()), (true, Some(seconds(400))), "{status}");
        clock.advance(seconds(400));
        client.bearer_token(&vault()).await.unwrap();
    }
}

#[tokio::test]
async fn it_can_be_switched_off() {
    for policy in [RetryPolicy::none(), RetryPolicy::default().without_throttling()] {
        let clock = ManualClock::at(NOW);
        let client = retrying(&clock, asks_to_wait(503, "60").then(200, TOKEN)).with_retry_policy(policy);
        let client = client.build().unwrap();
        let error = client.bearer_token(&vault()).await.unwrap_err();
        assert_eq!((error.is_throttled(), error.retry_after()), (false, Some(seconds(60))));
        client.bearer_token(&vault()).await.unwrap();
    }
    // Without retries the client still waits.
    let policy = RetryPolicy::default().without_retries();
    let transport = ScriptedTransport::default().then(503, BUSY).then_with(503, BUSY, ("retry-after", "60"));
    let client =
        retrying(&ManualClock::at(NOW), transport.clone()).with_retry_policy(policy).build().unwrap();
    for (throttled, left) in [(false, 1), (false, 0), (true, 0)] {
        let error = client.bearer_token(&vault()).await.unwrap_err();
        assert_eq!((error.is_throttled(), transport.left()), (throttled, left));
    }
}

fn requests(pair: &Pair) -> usize {
    pair.emulator().journal().len()
}

#[tokio::test]
async fn while_leg_2_waits_leg_1_is_not_sent_either() {
    let pair = Pair::new();
    let leg2 = pair.leg2();
    pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Leg2), waits(429, 60)));
    let first = leg2.bound_token(&vault()).await.unwrap_err();
    assert_eq!((first.leg(), requests(&pair)), (Some(Leg::Two), 2));
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert_eq!((error.leg(), error.is_throttled(), requests(&pair)), (Some(Leg::Two), true, 2));
    assert!(error.to_string().starts_with("Leg 2: "), "{error}");
    leg2.bound_token(&graph()).await.unwrap();
}

#[tokio::test]
async fn while_leg_1_waits_no_leg_2_sends_it() {
    let pair = Pair::new();
    let leg1 = pair.leg1();
    let leg2 = pair.builder(builtin::APP).with_assertions(leg1.clone()).build().unwrap();
    pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Leg1), waits(429, 60)));
    leg2.bound_token(&vault()).await.unwrap_err();
    assert_eq!(requests(&pair), 1);
    for error in [
        leg2.bound_token(&vault()).await.unwrap_err(),
        leg2.bound_token(&graph()).await.unwrap_err(),
        leg1.assertion().await.unwrap_err(),
    ] {
        assert_eq!((error.leg(), error.is_throttled(), requests(&pair)), (Some(Leg::One), true, 1));
    }
    pair.clock().advance(seconds(60));
    leg2.bound_token(&vault()).await.unwrap();
}

/// Returns a builder for an identity of a virtual machine, or of App Service.
fn machine(hosted: bool, transport: ScriptedTransport, clock: &ManualClock) -> ManagedIdentityBuilder {
    let builder = ManagedIdentity::system_assigned().with_transport(transport).with_clock(clock.clone());
    builder.with_environment(move |name| match name {
        "IDENTITY_ENDPOINT" if hosted => Some("http://127.0.0.1:41/token".to_owned()),
        "IDENTITY_HEADER" if hosted => Some(SECRET.to_owned()),
        _ => None,
    })
}

#[tokio::test]
async fn a_platform_that_asks_to_wait_is_left_alone_too() {
    for hosted in [false, true] {
        for status in [400, 403] {
            let clock = ManualClock::at(NOW);
            let body = format!(r#"{{"error":"too_many","error_description":"Slow down, {SECRET}."}}"#);
            let transport = ScriptedTransport::default()
                .then_with(status, body, ("retry-after", "30"))
                .then(200, MACHINE_TOKEN)
                .then(200, MACHINE_TOKEN);
            let identity = machine(hosted, transport.clone(), &clock).build().unwrap();
            let first = identity.bearer_token(&vault()).await.unwrap_err();
            assert_eq!((first.retry_after(), first.is_throttled()), (Some(seconds(30)), false));
            assert!(first.is_transient(), "{first}");
            clock.advance(seconds(10));
            let error = identity.bearer_token(&vault()).await.unwrap_err();
            assert_eq!((error.code(), error.retry_after()), (first.code(), Some(seconds(20))));
            assert!(error.is_throttled() && error.is_transient() && error.fix().starts_with("wait"));
            assert!(error.host().is_some() && error.host() == first.host(), "{error:?}");
            assert!(
                matches!(error, Error::Platform { what: PlatformError::Throttled { .. }, .. }),
                "{error:?}"
            );
            let text = error.to_string();
            for fact in ["Slow down", "this request was not sent", "20 s are left"] {
                assert!(text.contains(fact), "{fact}: {text}");
            }
            // App Service repeats its own secret in the answer.
            assert_eq!(text.contains(SECRET), !hosted, "{text}");
            assert_eq!(transport.left(), 2);
            identity.bearer_token(&graph()).await.unwrap();
            clock.advance(seconds(20));
            identity.bearer_token(&vault()).await.unwrap();
            assert_eq!(transport.left(), 0);
        }
    }
}

#[tokio::test]
async fn the_wait_of_a_platform_begins_with_its_last_answer_and_can_be_switched_off() {
    let busy = || {
        let header = ("retry-after", "2");
        (0..4).fold(ScriptedTransport::default(), |it, _| it.then_with(429, "", header))
    };
    for (policy, throttled) in
        [(RetryPolicy::default(), true), (RetryPolicy::default().without_throttling(), false)]
    {
        let clock = ManualClock::at(NOW);
        let transport = busy().then(200, MACHINE_TOKEN);
        let identity = machine(true, transport.clone(), &clock).with_retry_policy(policy).build().unwrap();
        identity.bearer_token(&vault()).await.unwrap_err();
        assert_eq!((clock.waited(), transport.left()), (vec![seconds(2); 3], 1));
        let again = identity.bearer_token(&vault()).await;
        assert_eq!((again.is_err(), transport.left()), (throttled, usize::from(throttled)));
    }
}

#[tokio::test]
async fn a_certificate_is_not_requested_while_the_platform_asks_to_wait() {
    let pair = Pair::new();
    let identity = pair.managed_identity(IdentityId::System).build().unwrap();
    let issue = Condition::endpoint(PlatformEndpoint::IssueCredential);
    pair.emulator().add_fault(Fault::once(issue, waits(400, 30)));
    let issued = || {
        let journal = pair.emulator().journal();
        journal.iter().filter(|entry| entry.path.contains("issuecredential")).count()
    };
    let first = identity.bound_token(&vault()).await.unwrap_err();
    assert_eq!((first.is_throttled(), issued()), (false, 1), "{first}");
    let error = identity.bound_token(&vault()).await.unwrap_err();
    assert_eq!((error.is_throttled(), error.code(), issued()), (true, first.code(), 1), "{error}");
    pair.clock().advance(Duration::from_secs(30));
    identity.bound_token(&vault()).await.unwrap();
    assert_eq!(issued(), 2);
}

/// The challenge of Azure Arc is no refusal: the next request answers it.
#[tokio::test]
async fn a_challenge_with_retry_after_is_no_reason_to_wait() {
    let transport = AnsweringTransport::new(|_| (401, String::new())).with_header("retry-after", "30");
    let identity = ManagedIdentity::system_assigned()
        .at(MachineSource::AzureArc)
        .with_environment(|_| None)
        .with_transport(transport.clone())
        .with_clock(ManualClock::at(NOW))
        .build()
        .unwrap();
    for requests in 1..3 {
        let error = identity.bearer_token(&vault()).await.unwrap_err();
        assert_eq!((error.is_throttled(), transport.seen().len()), (false, requests), "{error}");
    }
}
