//! Tests of the observer of a client: its calls for acquisitions and requests, and the cases without a call.

use std::future::IntoFuture as _;
use std::sync::{Arc, Mutex};

use certbound::TokenCache;
use certbound::error::{Leg, TransportError};
use certbound::managed_identity::IdentityId;
use certbound::observe::{
    AcquisitionResult, CompletedAcquisition, CompletedRequest, ObservedRequest, Observer, RequestTo,
    ThrottledRequest,
};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{GatedTransport, LevelFilter, ManualClock, Pair, RecordedSpans, ScriptedTransport};
use futures_util::future::join_all;

use crate::refresh::{NOW, Service, builder, retrying, seconds};
use crate::store::Shared;
use crate::two_leg::vault;

/// Writes one line for each event.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn leg(leg: Option<Leg>) -> String {
    leg.map(|leg| format!(" leg {}", leg.as_str())).unwrap_or_default()
}

impl Observer for Lines {
    fn before_request(&self, request: &ObservedRequest) {
        self.add(format!("before{}", leg(request.leg)));
    }

    fn after_request(&self, request: &CompletedRequest<'_>) {
        let result = request.result.map_or_else(str::to_owned, |status| status.to_string());
        self.add(format!("{}{} #{}: {result}", request.to.as_str(), leg(request.leg), request.attempt));
    }

    fn throttled(&self, request: &ThrottledRequest<'_>) {
        self.add(format!("{} throttled for {} s", request.to.as_str(), request.left.as_secs()));
    }

    fn after_acquisition(&self, acquisition: &CompletedAcquisition<'_>) {
        let result = match acquisition.result {
            AcquisitionResult::Token(origin) => origin.as_str(),
            AcquisitionResult::Error(error) => error.code(),
            AcquisitionResult::Cancelled => "cancelled",
            other => panic!("{other:?}"),
        };
        let region = acquisition.region.map_or("none", |region| region.as_str());
        self.add(format!("{}{} in {region}: {result}", acquisition.token_type, leg(acquisition.leg)));
    }
}

#[tokio::test]
async fn an_exchange_is_observed_by_the_client_and_not_by_the_hit() {
    let (pair, lines) = (Pair::new(), Arc::new(Lines::default()));
    let leg1 = pair.builder(builtin::APP).with_certificate(pair.certificate()).with_observer(lines.clone());
    let leg2 = pair.builder(builtin::APP).with_assertions(leg1.build().unwrap()).with_observer(lines.clone());
    let leg2 = leg2.build().unwrap();
    leg2.bound_token(&vault()).await.unwrap();
    let expected = [
        "before leg 1",
        "token_service leg 1 #1: 200",
        "before leg 2",
        "token_service leg 2 #1: 200",
        "mtls_pop leg 2 in westus3: token_service",
    ];
    assert_eq!(lines.take(), expected);
    leg2.bound_token(&vault()).await.unwrap();
    leg2.bound_token(&vault()).observe(lines.clone()).await.unwrap();
    leg2.resource(&vault()).token().await.unwrap();
    assert_eq!(lines.take(), [""; 0]);
    let calls = (0..2).map(|_| async { leg2.bearer_token(&vault()).await.map(drop) });
    join_all(calls).await.into_iter().for_each(Result::unwrap);
    let ends: Vec<String> = lines.take().split_off(4);
    assert_eq!(ends, ["bearer leg 2 in westus3: token_service", "bearer leg 2 in westus3: joined"]);
}

/// Records the flow of each acquisition and the reason of its request.
#[derive(Default)]
struct Reasons(Mutex<Vec<(&'static str, Option<&'static str>)>>);

impl Observer for Reasons {
    fn before_request(&self, _: &ObservedRequest) {}

    fn after_acquisition(&self, acquisition: &CompletedAcquisition<'_>) {
        self.0.lock().unwrap().push((acquisition.api, acquisition.refresh_reason));
    }
}

/// The document names each flow and each reason, with the number in the telemetry header.
#[tokio::test]
async fn an_acquisition_has_its_flow_and_the_reason_of_its_request() {
    let (clock, reasons) = (ManualClock::at(NOW), Arc::new(Reasons::default()));
    let service = Service::new(r#""expires_in":3600"#);
    let build = || retrying(&clock, service.transport()).with_observer(reasons.clone());
    let client = build().build().unwrap();
    let vault = vault();
    client.bearer_token(&vault).await.unwrap();
    client.bearer_token(&vault).await.unwrap();
    client.bearer_token(&vault).force_refresh().await.unwrap();
    clock.advance(seconds(7_200));
    client.bearer_token(&vault).await.unwrap();
    build().with_cache(TokenCache::none()).build().unwrap().bearer_token(&vault).await.unwrap();
    client.on_behalf_of(&certbound::Secret::new("user"), &vault).await.unwrap();
    client.bearer_token(&vault).body("scope", "b").await.unwrap_err();
    let pair = Pair::new();
    for id in [IdentityId::System, IdentityId::client_id(builtin::USER_IDENTITY).unwrap()] {
        let machine = pair.managed_identity(id).with_observer(reasons.clone()).build().unwrap();
        machine.bearer_token(&vault).await.unwrap();
    }
    let seen = std::mem::take(&mut *reasons.0.lock().unwrap());
    let of_application = |reason| ("client_credentials", Some(reason));
    let expected = [
        of_application("no_cached_token"),
        of_application("forced_or_claims"),
        of_application("expired"),
        of_application("cache_disabled"),
        ("on_behalf_of", Some("no_cached_token")),
        ("client_credentials", None),
        ("system_assigned_identity", Some("no_cached_token")),
        ("user_assigned_identity", Some("no_cached_token")),
    ];
    assert_eq!(seen, expected);
    let page = include_str!("../../../../docs/observability.md");
    let (_, table) = page.split_once("### MSAL.NET's names").unwrap();
    let row = |name: &str| table.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
    for (name, values) in [
        ("ApiId", ["1004 `client_credentials`", "1006 `on_behalf_of`", "1015 `system_", "1016 `user_", ""]),
        (
            "CacheRefreshReason",
            ["1 `forced_or_claims`", "2 `no_", "3 `expired`", "4 `proactive`", "5 `cache_"],
        ),
    ] {
        assert!(values.iter().all(|value| row(name).contains(value)), "{name}");
    }
}

/// Both observers see the acquisition, and the observer of the call also sees the request of Leg 1.
#[tokio::test]
async fn the_observer_of_a_call_sees_the_same() {
    let (of_call, of_client) = (Arc::new(Lines::default()), Arc::new(Lines::default()));
    let pair = Pair::new();
    let leg2 = pair.builder(builtin::APP).with_assertions(pair.leg1()).with_observer(of_client.clone());
    leg2.build().unwrap().bound_token(&vault()).observe(of_call.clone()).await.unwrap();
    let all = of_call.take();
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(of_client.take(), all[2..]);
}

#[tokio::test]
async fn a_failure_a_retry_and_a_throttled_request_are_observed() {
    let lines = Arc::new(Lines::default());
    let lost = TransportError::Connect { host: "h".to_owned(), reason: "refused".into() };
    let busy = r#"{"error":"temporarily_unavailable"}"#;
    let script =
        ScriptedTransport::default().then_fails(lost.clone()).then_with(429, busy, ("retry-after", "30"));
    let client = retrying(&ManualClock::at(NOW), script).with_observer(lines.clone()).build().unwrap();
    client.bearer_token(&vault()).await.unwrap_err();
    client.bearer_token(&vault()).await.unwrap_err();
    let expected = [
        "before".to_owned(),
        format!("token_service #1: {}", lost.code()),
        "before".to_owned(),
        "token_service #2: 429".to_owned(),
        "bearer in none: temporarily_unavailable".to_owned(),
        "token_service throttled for 30 s".to_owned(),
        "bearer in none: temporarily_unavailable".to_owned(),
    ];
    assert_eq!(lines.take(), expected);
}

/// A time limit of the application drops the future. Spans and observers report this as a cancellation.
#[tokio::test]
async fn an_acquisition_that_is_dropped_is_cancelled() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let (pair, lines) = (Pair::new(), Arc::new(Lines::default()));
    let transport = GatedTransport::new(pair.transport());
    transport.close("mtlsauth");
    let client = pair.builder(builtin::APP).with_transport(transport.clone()).with_observer(lines.clone());
    let client = client.with_certificate(pair.certificate()).build().unwrap();
    let vault = vault();
    let mut call = Box::pin(client.bound_token(&vault).into_future());
    assert!(futures_util::poll!(&mut call).is_pending());
    while transport.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    drop(call);
    while transport.waiting() == 1 {
        tokio::task::yield_now().await;
    }
    let mut seen = lines.take();
    seen.sort();
    assert_eq!(seen, ["before", "mtls_pop in none: cancelled", "token_service #1: cancelled"]);
    let all = spans.all();
    let [acquisition, request] = &all[..] else { panic!("{:?}", spans.tree()) };
    assert_eq!(acquisition.field("certbound.outcome"), "cancelled");
    assert_eq!((request.field("error.type"), request.field("otel.status_code")), ("cancelled", "ERROR"));
    assert!(acquisition.is_closed && request.is_closed);
}

#[tokio::test]
async fn a_machine_and_a_store_are_observed() {
    let (pair, lines) = (Pair::new(), Arc::new(Lines::default()));
    let machine = pair.managed_identity(IdentityId::System).with_observer(lines.clone()).build().unwrap();
    machine.bound_token(&vault()).await.unwrap();
    machine.bearer_token(&vault()).await.unwrap();
    let expected = [
        "platform #1: 200",
        "platform #1: 200",
        "before",
        "token_service #1: 200",
        "mtls_pop in westus3: token_service",
        "platform #1: 200",
        "bearer in none: platform",
    ];
    assert_eq!(lines.take(), expected);

    let (clock, service) = (ManualClock::at(NOW), Service::new(r#""expires_in":3600"#));
    let cache = TokenCache::new().with_store(Shared::default());
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).with_observer(lines.clone());
    let client = client.build().unwrap();
    client.bearer_token(&vault()).await.unwrap();
    cache.flush().await;
    cache.clear();
    lines.take();
    client.bearer_token(&vault()).await.unwrap();
    assert_eq!(lines.take(), ["bearer in none: store"]);
}

/// A refresh in the background is no acquisition, but its request is observed.
#[tokio::test]
async fn only_the_requests_of_a_refresh_ahead_are_observed() {
    let (lines, clock) = (Arc::new(Lines::default()), ManualClock::at(NOW));
    let service = Service::new(r#""expires_in":3600,"refresh_in":100"#);
    let client = builder(&clock, service.transport()).with_cache(TokenCache::new().with_seed(1));
    let client = client.with_observer(lines.clone()).build().unwrap();
    client.bearer_token(&vault()).await.unwrap();
    lines.take();
    clock.advance(seconds(3_000));
    client.bearer_token(&vault()).await.unwrap();
    while service.asked() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lines.take(), ["before", "token_service #1: 200"]);
}

/// Each part has its own duration, and the sum of the durations is not more than the duration of the acquisition.
#[tokio::test]
async fn the_parts_of_an_acquisition_are_measured() {
    /// Keeps the durations of the last acquisition.
    #[derive(Default)]
    struct Timed(Mutex<Vec<(u64, u64, u64, u64)>>);

    impl Observer for Timed {
        fn before_request(&self, _: &ObservedRequest) {}

        fn after_request(&self, request: &CompletedRequest<'_>) {
            assert_eq!((request.to, request.took), (RequestTo::TokenService, seconds(3)));
        }

        fn after_acquisition(&self, acquisition: &CompletedAcquisition<'_>) {
            let parts = acquisition.parts.unwrap();
            let of = [acquisition.took, parts.http, parts.leg1, parts.cache].map(|it| it.as_secs());
            self.0.lock().unwrap().push(of.into());
        }
    }

    let (pair, timed) = (Pair::new(), Arc::new(Timed::default()));
    let slow = Slow { beyond: pair.transport(), clock: pair.clock().clone() };
    let leg1 = pair.builder(builtin::APP).with_transport(slow.clone()).with_certificate(pair.certificate());
    let leg2 = pair.builder(builtin::APP).with_transport(slow).with_assertions(leg1.build().unwrap());
    let leg2 = leg2.with_observer(timed.clone()).build().unwrap();
    leg2.bound_token(&vault()).await.unwrap();
    assert_eq!(*timed.0.lock().unwrap(), [(6, 3, 3, 0)]);
}

/// Forwards requests to the emulator, and advances the clock by three seconds for each request.
#[derive(Clone)]
struct Slow {
    beyond: certbound_testkit::MemoryTransport,
    clock: ManualClock,
}

impl certbound::Transport for Slow {
    async fn send(
        &self,
        request: http::Request<bytes::Bytes>,
        via: certbound::transport::Via<'_>,
    ) -> Result<certbound::transport::Answer, TransportError> {
        self.clock.advance(seconds(3));
        certbound::Transport::send(&self.beyond, request, via).await
    }
}
