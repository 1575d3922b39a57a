//! The spans of an acquisition: their order, their fields, and the cases in which there is no span.

use std::future::IntoFuture as _;

use certbound::TokenCache;
use certbound::error::{Phase, TransportError};
use certbound::managed_identity::IdentityId;
use certbound::observe::CorrelationId;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, LegKind};
use certbound_testkit::{GatedTransport, LevelFilter, ManualClock, Pair, RecordedSpans, ScriptedTransport};
use futures_util::future::join;

use crate::refresh::{NOW, Service, builder, retrying, seconds};
use crate::store::Shared;
use crate::two_leg::vault;

const TWO_LEGS: [&str; 5] = ["acquire_token", "  leg", "    token_request", "  leg", "    token_request"];

#[tokio::test]
async fn both_legs_with_their_requests_are_below_one_acquisition() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let (pair, id) = (Pair::new(), CorrelationId::random());
    pair.leg2().bound_token(&vault()).correlation_id(id).await.unwrap();
    assert_eq!(spans.tree(), TWO_LEGS);
    let [acquisition, leg1, first, leg2, second] = &spans.all()[..] else { panic!("five spans") };
    for (name, value) in [
        ("certbound.token_type", "mtls_pop"),
        ("certbound.api", "client_credentials"),
        ("certbound.refresh_reason", "no_cached_token"),
        ("certbound.scope", vault().as_str()),
        ("certbound.outcome", "success"),
        ("certbound.source", "token_service"),
        ("certbound.region", "westus3"),
        ("error.type", ""),
    ] {
        assert_eq!(acquisition.field(name), value, "{name}");
    }
    assert_eq!((leg1.field("certbound.leg"), leg1.field("otel.name")), ("1", "Leg 1"));
    assert_eq!((leg2.field("certbound.leg"), leg2.field("otel.name")), ("2", "Leg 2"));
    for (request, leg) in [(first, "1"), (second, "2")] {
        let url = format!("https://westus3.mtlsauth.microsoft.com/{}/oauth2/v2.0/token", builtin::TENANT);
        for (name, value) in [
            ("certbound.leg", leg),
            ("certbound.region", "westus3"),
            ("http.request.method", "POST"),
            ("http.request.resend_count", ""),
            ("http.response.status_code", "200"),
            ("server.address", "westus3.mtlsauth.microsoft.com"),
            ("server.port", "443"),
            ("url.full", &url),
            ("otel.kind", "client"),
            ("otel.name", "POST"),
            ("otel.status_code", ""),
            ("error.type", ""),
        ] {
            assert_eq!(request.field(name), value, "{name}");
        }
    }
    for span in [acquisition, first, second] {
        assert_eq!(span.field("certbound.correlation_id"), id.to_string());
    }
    assert!(spans.all().iter().all(|span| span.is_closed));
}

#[tokio::test]
async fn a_hit_opens_no_span_whatever_its_options_are() {
    for level in [LevelFilter::INFO, LevelFilter::TRACE] {
        let pair = Pair::new();
        let (leg2, machine) = (pair.leg2(), pair.managed_identity(IdentityId::System).build().unwrap());
        let vault = vault();
        let tenant = certbound::TenantId::parse(builtin::TENANT).unwrap();
        leg2.bound_token(&vault).await.unwrap();
        leg2.bound_token(&vault).tenant(tenant.clone()).query("a", "b").await.unwrap();
        machine.bound_token(&vault).await.unwrap();
        machine.bearer_token(&vault).await.unwrap();
        let (spans, _guard) = RecordedSpans::begin(level);
        leg2.bound_token(&vault).await.unwrap();
        leg2.bound_token(&vault).correlation_id(CorrelationId::random()).await.unwrap();
        leg2.bound_token(&vault).tenant(tenant).query("a", "b").await.unwrap();
        leg2.resource(&vault).token().await.unwrap();
        machine.bound_token(&vault).await.unwrap();
        machine.bearer_token(&vault).await.unwrap();
        assert_eq!(spans.tree(), [""; 0], "{level}");
        leg2.bound_token(&vault).force_refresh().await.unwrap();
        assert_eq!(spans.positions("acquire_token"), [0], "{level}");
    }
}

#[tokio::test]
async fn a_caller_that_joins_follows_from_the_acquisition_that_sends_the_request() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let leg2 = Pair::new().leg2();
    let vault = vault();
    let (first, second) =
        join(leg2.bound_token(&vault).into_future(), leg2.bound_token(&vault).into_future()).await;
    first.unwrap();
    second.unwrap();
    let [leader, follower] = spans.positions("acquire_token")[..] else { panic!("{:?}", spans.tree()) };
    let all = spans.all();
    assert_eq!(all[follower].follows, [leader]);
    assert_eq!(all[follower].field("certbound.source"), "joined");
    assert_eq!(all[leader].field("certbound.source"), "token_service");
    assert!(all[leader].follows.is_empty());
    assert_eq!(all.iter().filter(|span| span.parent == Some(follower)).count(), 0);
    assert_eq!(spans.positions("token_request").len(), 2);
}

/// The requests belong to the acquisition that started them, even after its caller was dropped.
#[tokio::test]
async fn a_load_stays_in_the_span_of_its_acquisition() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let pair = Pair::new();
    let transport = GatedTransport::new(pair.transport());
    let leg2 = pair.builder(builtin::APP).with_transport(transport.clone()).with_assertions(pair.leg1());
    let leg2 = leg2.build().unwrap();
    let vault = vault();
    transport.close("login");
    transport.close("mtlsauth");
    let mut leader = Box::pin(leg2.bound_token(&vault).into_future());
    assert!(futures_util::poll!(&mut leader).is_pending());
    let mut follower = Box::pin(leg2.bound_token(&vault).into_future());
    assert!(futures_util::poll!(&mut follower).is_pending());
    while transport.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    drop(leader);
    transport.open();
    follower.await.unwrap();
    let all = spans.all();
    let [leader, follower] = spans.positions("acquire_token")[..] else { panic!("{:?}", spans.tree()) };
    let legs: Vec<_> = spans.positions("leg").into_iter().map(|at| all[at].parent).collect();
    assert_eq!(legs, [Some(leader), Some(leader)]);
    assert_eq!(all[follower].field("certbound.source"), "joined");
    assert_eq!(all[follower].follows, [leader]);
}

#[tokio::test]
async fn a_refresh_ahead_is_a_trace_of_its_own_and_follows_from_its_cause() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600,"refresh_in":100"#));
    let client =
        builder(&clock, service.transport()).with_cache(TokenCache::new().with_seed(1)).build().unwrap();
    let vault = vault();
    client.bearer_token(&vault).await.unwrap();
    clock.advance(seconds(3_000));
    let cause = tracing::info_span!("of the application");
    let hit = tracing::Instrument::instrument(async { client.bearer_token(&vault).await }, cause);
    hit.await.unwrap();
    while service.asked() < 2 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    let all = spans.all();
    let [_, ahead] = spans.positions("acquire_token")[..] else { panic!("{:?}", spans.tree()) };
    let [cause] = spans.positions("of the application")[..] else { panic!("{:?}", spans.tree()) };
    assert_eq!((all[ahead].parent, &all[ahead].follows[..]), (None, &[cause][..]));
    assert_eq!(all[ahead].field("certbound.ahead"), "true");
    assert_eq!(all[ahead].field("certbound.refresh_reason"), "proactive");
    let requests = spans.positions("token_request");
    assert_eq!(all[requests[1]].parent, Some(ahead));
}

#[tokio::test]
async fn a_refusal_is_recorded_in_each_span_that_it_ends() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let pair = Pair::new();
    let refusal =
        FaultResult::Refusal { aadsts: 50_013, error: None, status: None, suberror: None, claims: None };
    pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Leg2), refusal));
    let error = pair.leg2().bound_token(&vault()).await.unwrap_err();
    let [acquisition, leg1, first, leg2, second] = &spans.all()[..] else { panic!("{:?}", spans.tree()) };
    for span in [acquisition, leg2] {
        assert_eq!(span.field("error.type"), error.code());
        assert_eq!(span.field("certbound.aadsts"), "50013");
        assert_eq!(span.field("otel.status_code"), "ERROR");
    }
    assert_eq!(
        (acquisition.field("certbound.outcome"), acquisition.field("certbound.source")),
        ("failure", "")
    );
    assert_eq!(acquisition.field("certbound.region"), "westus3");
    let status = second.field("http.response.status_code");
    assert_eq!((second.field("error.type"), second.field("otel.status_code")), (status, "ERROR"));
    assert!(status.starts_with('4'), "{status}");
    for span in [leg1, first] {
        assert_eq!(span.field("otel.status_code"), "");
    }
}

#[tokio::test]
async fn each_attempt_is_a_request_with_its_number() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let lost = TransportError::TimedOut {
        host: "h".to_owned(),
        phase: Phase::Exchange,
        limit: seconds(1),
        proxy: None,
    };
    let token = r#"{"token_type":"Bearer","access_token":"T","expires_in":3600}"#;
    let transport = ScriptedTransport::default().then_fails(lost.clone()).then(200, token);
    let client = retrying(&ManualClock::at(NOW), transport).build().unwrap();
    client.bearer_token(&vault()).await.unwrap();
    assert_eq!(spans.tree(), ["acquire_token", "  token_request", "  token_request"]);
    let [_, first, second] = &spans.all()[..] else { panic!("three spans") };
    assert_eq!((first.field("error.type"), first.field("http.request.resend_count")), (lost.code(), ""));
    assert_eq!((second.field("error.type"), second.field("http.request.resend_count")), ("", "1"));
}

#[tokio::test]
async fn the_requests_of_a_machine_are_below_its_certificate() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let pair = Pair::new();
    let machine = pair.managed_identity(IdentityId::System).build().unwrap();
    machine.bound_token(&vault()).await.unwrap();
    machine.bearer_token(&vault()).await.unwrap();
    let expected = [
        "acquire_token",
        "  issue_certificate",
        "    platform_request",
        "    platform_request",
        "  token_request",
        "acquire_token",
        "  platform_request",
    ];
    assert_eq!(spans.tree(), expected);
    let all = spans.all();
    assert_eq!(all[0].field("certbound.source"), "token_service");
    assert_eq!(all[0].field("certbound.api"), "system_assigned_identity");
    assert_eq!(all[5].field("certbound.source"), "platform");
    let urls: Vec<&str> = [2, 3, 6].iter().map(|at| all[*at].field("url.full")).collect();
    let of = |path: &str| format!("http://169.254.169.254/metadata/identity/{path}");
    assert_eq!(urls, [of("getplatformmetadata"), of("issuecredential"), of("oauth2/token")]);
}

#[tokio::test]
async fn a_store_has_a_span_for_each_operation() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let cache = TokenCache::new().with_store(Shared::default());
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    let token = client.bearer_token(&vault()).await.unwrap();
    cache.flush().await;
    cache.clear();
    client.bearer_token(&vault()).await.unwrap();
    client.bearer_token(&vault()).forget().await.unwrap();
    cache.flush().await;
    let all = spans.all();
    let stores: Vec<_> = spans.positions("store").into_iter().map(|at| &all[at]).collect();
    let operations: Vec<_> = stores.iter().map(|span| span.field("certbound.store.operation")).collect();
    assert_eq!(operations, ["load", "save", "load", "remove"]);
    assert_eq!((stores[0].field("certbound.found"), stores[2].field("certbound.found")), ("false", "true"));
    assert_eq!((stores[0].parent, stores[1].parent), (Some(0), None));
    let id = token.details().correlation_id.to_string();
    assert_eq!(
        (stores[1].field("certbound.correlation_id"), stores[1].field("otel.name")),
        (id.as_str(), "store save")
    );
    assert_eq!(all[stores[2].parent.unwrap()].field("certbound.source"), "store");
}

#[tokio::test]
async fn the_url_of_a_resource_is_not_recorded() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let pair = Pair::new();
    let request = http::Request::get("https://demo.vault.azure.net/secrets/demo?api-version=7.4");
    pair.leg2().resource(&vault()).call(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    let [at] = spans.positions("resource_request")[..] else { panic!("{:?}", spans.tree()) };
    let span = &spans.all()[at];
    assert_eq!(
        (span.field("server.address"), span.field("http.request.method")),
        ("demo.vault.azure.net", "GET")
    );
    assert!(span.fields.values().all(|value| !value.contains("secrets")), "{span:?}");
}
