//! A region whose host cannot be reached: an error, unless the client allows the global host.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certbound::credential::{ByAssertion, ByCertificate};
use certbound::error::{Leg, Phase, TransportError};
use certbound::region::RegionOutcome;
use certbound::retry::RetryPolicy;
use certbound::transport::{Answer, Via};
use certbound::{Authority, Client, Region, Transport};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult};
use certbound_testkit::{MemoryTransport, Pair};

use crate::regions::{detecting, detector, global};
use crate::two_leg::vault;

const REGIONAL: &str = "westus3.mtlsauth.microsoft.com";
const GLOBAL: &str = "mtlsauth.microsoft.com";

fn westus3() -> Authority {
    global().with_region(Region::parse("westus3").unwrap())
}

/// Makes the region's mutual-TLS host unreachable in the emulator.
fn take_down(pair: &Pair) {
    let condition = Condition { host_suffix: Some(REGIONAL.to_owned()), ..Condition::any() };
    pair.emulator().add_fault(Fault::always(condition, FaultResult::Unreachable));
}

/// Returns Leg 1 and Leg 2, each of which may use the global host.
fn legs(pair: &Pair, authority: &Authority, may: [bool; 2]) -> (Client<ByCertificate>, Client<ByAssertion>) {
    let regions = detector(&[]);
    let [one, two] = may.map(|may| {
        let builder = pair.builder_at(authority.clone(), builtin::APP).with_region_detector(regions.clone());
        if may { builder.global_if_region_unreachable() } else { builder }
    });
    let leg1 = one.with_certificate(pair.certificate()).build().unwrap();
    (leg1.clone(), two.with_assertions(leg1).build().unwrap())
}

fn hosts(pair: &Pair) -> Vec<String> {
    let journal = pair.emulator().journal();
    journal.into_iter().map(|entry| entry.host).filter(|host| host.contains("mtlsauth")).collect()
}

#[tokio::test]
async fn by_default_it_is_an_error_that_names_the_region() {
    for authority in [westus3(), detecting()] {
        let pair = Pair::new();
        take_down(&pair);
        let (_, leg2) = legs(&pair, &authority, [false, false]);
        let error = leg2.bound_token(&vault()).await.unwrap_err();
        assert_eq!(
            (error.code(), error.leg(), error.is_transient()),
            ("connect_failed", Some(Leg::One), true)
        );
        assert_eq!((error.host(), error.region().map(Region::as_str)), (Some(REGIONAL), Some("westus3")));
        assert!(hosts(&pair).is_empty());
    }
}

#[tokio::test]
async fn a_client_that_allows_it_uses_the_global_host_and_the_result_says_so() {
    for authority in [westus3(), detecting()] {
        let pair = Pair::new();
        take_down(&pair);
        let (leg1, leg2) = legs(&pair, &authority, [true, true]);
        let token = leg2.bound_token(&vault()).await.unwrap();
        let details = token.details();
        assert_eq!((details.token_type.as_str(), details.region), ("mtls_pop", None));
        let Some(RegionOutcome::Unreachable { region, reason }) = &details.region_outcome else {
            panic!("{:?}", details.region_outcome)
        };
        assert_eq!((region.as_str(), reason.contains("the connection failed")), ("westus3", true));
        assert!(details.legs.iter().all(|leg| leg.region_outcome.name() == "unreachable"));
        assert!(hosts(&pair).iter().all(|host| host == GLOBAL), "{:?}", hosts(&pair));
        assert_eq!(leg1.assertion().await.unwrap().report().unwrap().region, None);

        // The next request tries the region again.
        pair.emulator().clear_faults();
        let details = leg2.bound_token(&vault()).force_refresh().await.unwrap().details();
        assert_eq!(details.region.as_ref().map(Region::as_str), Some("westus3"));
    }
}

#[tokio::test]
async fn each_leg_allows_it_for_its_own_request_only() {
    let pair = Pair::new();
    take_down(&pair);
    let (_, leg2) = legs(&pair, &westus3(), [false, true]);
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert_eq!((error.code(), error.leg()), ("connect_failed", Some(Leg::One)));
    let (_, leg2) = legs(&pair, &westus3(), [true, false]);
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert_eq!((error.code(), error.leg()), ("connect_failed", Some(Leg::Two)));
}

/// A transport whose regional hosts fail. It records every host of a token request.
#[derive(Clone)]
struct Failing {
    others: MemoryTransport,
    error: TransportError,
    hosts: Arc<Mutex<Vec<String>>>,
}

impl Transport for Failing {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let host = request.uri().host().unwrap().to_owned();
        self.hosts.lock().unwrap().push(host.clone());
        if host == REGIONAL { Err(self.error.clone()) } else { self.others.send(request, via).await }
    }
}

#[tokio::test]
async fn only_a_connection_that_could_not_be_opened_leads_to_the_global_host() {
    let host = || REGIONAL.to_owned();
    let timed_out =
        |phase| TransportError::TimedOut { host: host(), phase, limit: Duration::from_secs(5), proxy: None };
    let reason = || "a fault".into();
    for (error, leads) in [
        (TransportError::Connect { host: host(), reason: reason() }, true),
        (TransportError::Proxy { host: host(), proxy: "p:1".to_owned(), reason: reason() }, true),
        (TransportError::ProxyRefused { host: host(), proxy: "p:1".to_owned(), status: 502 }, true),
        (timed_out(Phase::Connect), true),
        (timed_out(Phase::Exchange), false),
        (TransportError::Interrupted { host: host(), reason: reason() }, false),
        (TransportError::EndedAfterCertificate { host: host(), reason: reason() }, false),
        (TransportError::Tls { host: host(), reason: reason() }, false),
        (TransportError::CertificateNotRequested { host: host() }, false),
        (TransportError::TooLarge { host: host(), limit: 1 }, false),
    ] {
        let pair = Pair::new();
        let transport = Failing { others: pair.transport(), error: error.clone(), hosts: Arc::default() };
        let client = pair
            .builder_at(westus3(), builtin::APP)
            .with_transport(transport.clone())
            .global_if_region_unreachable()
            .with_certificate(pair.certificate())
            .build()
            .unwrap();
        let result = client.bound_token(&vault()).await;
        let asked = transport.hosts.lock().unwrap();
        assert_eq!(asked.iter().any(|host| host == GLOBAL), leads, "{error}: {asked:?}");
        assert_eq!(result.is_ok(), leads, "{error}");
    }
}

/// Leg 1 fails within Leg 2, and both have the same region. Leg 2 does not treat this error as a failure of its own
/// request.
#[tokio::test]
async fn an_unreachable_region_of_leg_1_does_not_repeat_leg_2() {
    let pair = Pair::new();
    let error = TransportError::Connect { host: REGIONAL.to_owned(), reason: "a fault".into() };
    let transport = Failing { others: pair.transport(), error, hosts: Arc::default() };
    let builder = || {
        let builder = pair.builder_at(westus3(), builtin::APP).with_transport(transport.clone());
        builder.with_retry_policy(RetryPolicy::none())
    };
    let leg1 = builder().with_certificate(pair.certificate()).build().unwrap();
    let leg2 = builder().global_if_region_unreachable().with_assertions(leg1).build().unwrap();
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert_eq!((error.code(), error.leg()), ("connect_failed", Some(Leg::One)));
    assert_eq!(*transport.hosts.lock().unwrap(), [REGIONAL], "only one request of Leg 1");
}

#[tokio::test]
async fn an_answer_of_the_region_is_its_answer() {
    for status in [400, 429, 500, 503] {
        let pair = Pair::new();
        let condition = Condition { host_suffix: Some(REGIONAL.to_owned()), ..Condition::any() };
        let body = r#"{"error":"temporarily_unavailable"}"#.to_owned();
        let fault = FaultResult::Status { status, body, retry_after: None, headers: Default::default() };
        pair.emulator().add_fault(Fault::always(condition, fault));
        let (_, leg2) = legs(&pair, &westus3(), [true, true]);
        assert!(leg2.bound_token(&vault()).await.is_err());
        assert!(hosts(&pair).iter().all(|host| host == REGIONAL), "{status}: {:?}", hosts(&pair));
    }
}

#[tokio::test]
async fn the_way_to_the_global_host_exchanges_the_assertion_of_leg_1_once_more() {
    let pair = Pair::new();
    // A single assertion can be exchanged once only, and the request to the region was not sent.
    let (leg1, _) = legs(&pair, &westus3(), [false, false]);
    let assertion = leg1.assertion().await.unwrap();
    take_down(&pair);
    let builder = pair.builder_at(westus3(), builtin::APP).with_region_detector(detector(&[]));
    let leg2 = builder.global_if_region_unreachable().with_assertions(assertion).build().unwrap();
    let token = leg2.bound_token(&vault()).await.unwrap();
    assert!(matches!(token.details().region_outcome, Some(RegionOutcome::Unreachable { .. })), "{token:?}");
    // Each leg sends one request.
    let before = hosts(&pair).len();
    let (_, leg2) = legs(&pair, &westus3(), [true, true]);
    leg2.bound_token(&vault()).await.unwrap();
    assert_eq!(hosts(&pair).split_off(before), [GLOBAL, GLOBAL]);
}
