//! Each answer of the metadata service to a request for the region, and its effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::region::{DetectionFailure, RegionOutcome};
use certbound::retry::RetryPolicy;
use certbound::token::Details;
use certbound::transport::{Answer, Via};
use certbound::{Region, Transport};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, LevelFilter, Pair, RecordedSpans};

use crate::observers::Lines;
use crate::regions::{detecting, detector, is_metadata, last, machine};
use crate::two_leg::vault;

/// The first version of a request.
const FIRST: &str = "2021-02-01";
const NEWEST: &str = r#"{"error":"Bad request.","newest-versions":["2022-01-01","2021-12-13"]}"#;
const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The answers of the metadata service in order, the region or a part of the reason, the versions of the requests, and
/// the number of waits of one second.
type Row =
    (&'static [(u16, &'static str)], Result<&'static str, &'static str>, &'static [&'static str], usize);

const ROWS: [Row; 28] = [
    (&[(200, "eastus")], Ok("eastus"), &[FIRST], 0),
    (&[(200, "EastUS2")], Ok("EastUS2"), &[FIRST], 0),
    (&[(200, "")], Err("answered ``"), &[FIRST], 0),
    (&[(200, "East US")], Err("answered `East US`"), &[FIRST], 0),
    (&[(200, " eastus")], Err("answered ` eastus`"), &[FIRST], 0),
    (&[(200, "eastus\n")], Err(r"answered `eastus\n`"), &[FIRST], 0),
    (&[(200, LONG)], Err("not a region"), &[FIRST], 0),
    (&[(200, "evil.example/x")], Err("answered `evil.example/x`"), &[FIRST], 0),
    (&[(200, r#"{"location":"eastus"}"#)], Err("not a region"), &[FIRST], 0),
    (&[(200, "TryAutoDetect")], Err("answered `TryAutoDetect`"), &[FIRST], 0),
    (&[(204, "eastus")], Err("status 204"), &[FIRST], 0),
    (&[(307, "eastus")], Err("status 307"), &[FIRST], 0),
    (&[(403, "")], Err("status 403"), &[FIRST], 0),
    (&[(404, "")], Err("status 404"), &[FIRST], 0),
    (&[(408, "")], Err("status 408"), &[FIRST], 0),
    (&[(410, ""), (200, "eastus")], Ok("eastus"), &[FIRST, FIRST], 1),
    (&[(429, ""), (200, "eastus")], Ok("eastus"), &[FIRST, FIRST], 1),
    (&[(503, ""), (200, "eastus")], Ok("eastus"), &[FIRST, FIRST], 1),
    (&[(500, ""), (599, "")], Err("status 599"), &[FIRST, FIRST], 1),
    (&[(500, ""), (404, "")], Err("status 404"), &[FIRST, FIRST], 1),
    (&[(400, NEWEST), (200, "eastus")], Ok("eastus"), &[FIRST, "2022-01-01"], 0),
    (&[(400, ""), (400, NEWEST), (200, "eastus")], Ok("eastus"), &[FIRST, "", "2022-01-01"], 0),
    (&[(400, "x"), (400, "{}")], Err("names no version"), &[FIRST, ""], 0),
    (&[(400, ""), (200, NEWEST)], Err("names no version"), &[FIRST, ""], 0),
    (&[(400, r#"{"newest-versions":["../x"]}"#), (404, "")], Err("names no version"), &[FIRST, ""], 0),
    (&[(400, NEWEST), (400, NEWEST)], Err("status 400"), &[FIRST, "2022-01-01"], 0),
    (&[(400, NEWEST), (500, ""), (200, "eastus")], Ok("eastus"), &[FIRST, "2022-01-01", "2022-01-01"], 1),
    // The time limit leaves no time for a second wait.
    (&[(500, ""), (400, NEWEST), (500, "")], Err("status 500"), &[FIRST, FIRST, "2022-01-01"], 1),
];

#[tokio::test]
async fn each_answer_has_its_effect() {
    for (answers, expected, versions, waits) in ROWS {
        let pair = Pair::new();
        let next = AtomicUsize::new(0);
        let transport = machine(move |_| {
            let (status, body) = answers[next.fetch_add(1, Ordering::SeqCst)];
            (status, body.to_owned())
        });
        let details = details(&pair, transport.clone()).await;
        let asked: Vec<_> =
            transport.seen().iter().filter(|it| is_metadata(it)).map(|it| version(&it.url)).collect();
        assert_eq!(asked, versions, "{answers:?}");
        assert_eq!(pair.clock().waited(), vec![Duration::from_secs(1); waits], "{answers:?}");
        let outcome = details.region_outcome.unwrap();
        assert_eq!(
            details.region.as_ref().map(Region::as_str).ok_or(""),
            expected.map_err(|_| ""),
            "{answers:?}"
        );
        let (host, telemetry) = last(&transport);
        match expected {
            Ok(region) => {
                assert_eq!(host, format!("{region}.mtlsauth.microsoft.com"));
                assert_eq!(telemetry, format!("5|1004,2,{region},4,4|0,1,6,,,"));
            }
            Err(reason) => {
                assert!(outcome.reason().unwrap().contains(reason), "{answers:?}: {outcome}");
                assert_eq!(host, "mtlsauth.microsoft.com");
                assert_eq!(telemetry, "5|1004,2,,1,5|0,1,6,,,");
            }
        }
    }
}

/// The client that starts the detection determines whether its requests are repeated, and its observer sees them.
#[tokio::test]
async fn the_policy_and_the_observer_of_the_client_apply_to_the_detection() {
    let default = RetryPolicy::default();
    for (policy, attempts) in [
        (default, &["platform #1: 503", "platform #2: 200"][..]),
        (default.without_throttling(), &["platform #1: 503", "platform #2: 200"]),
        (default.without_retries(), &["platform #1: 503"]),
        (RetryPolicy::none(), &["platform #1: 503"]),
    ] {
        let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
        let (pair, next) = (Pair::new(), AtomicUsize::new(0));
        let transport = machine(move |_| match next.fetch_add(1, Ordering::SeqCst) {
            0 => (503, String::new()),
            _ => (200, "eastus".to_owned()),
        });
        let (lines, regions) = (Arc::new(Lines::default()), detector(&[]));
        let build = |policy| {
            let builder = pair.builder_at(detecting(), builtin::APP).with_transport(transport.clone());
            let builder = builder.with_region_detector(regions.clone()).with_retry_policy(policy);
            builder.with_observer(lines.clone()).with_certificate(pair.certificate()).build().unwrap()
        };
        let details = build(policy).bound_token(&vault()).await.unwrap().details();
        assert_eq!(details.region.is_some(), attempts.len() == 2, "{policy:?}");
        assert_eq!(lines.take()[..attempts.len()], *attempts, "{policy:?}");
        let all = spans.all();
        let requests = spans.positions("platform_request");
        let resent: Vec<_> =
            requests.into_iter().map(|at| all[at].field("http.request.resend_count")).collect();
        assert_eq!(resent, ["", "1"][..attempts.len()], "{policy:?}");
        // A second client uses the result of the first client, whatever its policy is.
        let other = build(default).bound_token(&vault()).await.unwrap().details();
        assert_eq!(other.region, details.region, "{policy:?}");
        let asked = transport.seen().iter().filter(|it| is_metadata(it)).count();
        assert_eq!(asked, attempts.len(), "{policy:?}");
    }
}

async fn details(pair: &Pair, transport: impl Transport) -> Details {
    let client = pair
        .builder_at(detecting(), builtin::APP)
        .with_transport(transport)
        .with_region_detector(detector(&[]))
        .with_certificate(pair.certificate())
        .build()
        .unwrap();
    client.bound_token(&vault()).await.unwrap().details()
}

fn version(url: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let pairs: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let value = |name| pairs.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
    assert_eq!(value("format"), "text");
    value("api-version").to_owned()
}

/// A metadata service that does not answer, or cannot be reached.
struct Silent {
    error: Option<TransportError>,
    others: AnsweringTransport,
}

impl Transport for Silent {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        if !request.uri().path().starts_with("/metadata/") {
            return self.others.send(request, via).await;
        }
        assert!(matches!(via, Via::Local), "the metadata service is never reached through a proxy");
        match &self.error {
            Some(error) => Err(error.clone()),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn a_metadata_service_that_hangs_holds_a_request_for_two_seconds() {
    let pair = Pair::new();
    let transport = Silent { error: None, others: AnsweringTransport::with_tokens() };
    let failure = DetectionFailure::TimedOut { limit: Duration::from_secs(2) };
    let outcome = details(&pair, transport).await.region_outcome;
    assert_eq!(outcome, Some(RegionOutcome::NotDetected { failure }));
    assert_eq!(pair.clock().waited(), [Duration::from_secs(2)]);
}

#[tokio::test]
async fn a_metadata_service_that_is_absent_is_asked_once() {
    let pair = Pair::new();
    let error = TransportError::Connect { host: "169.254.169.254".to_owned(), reason: "no route".into() };
    let transport = Silent { error: Some(error), others: AnsweringTransport::with_tokens() };
    let outcome = details(&pair, transport).await.region_outcome.unwrap();
    assert!(outcome.to_string().contains("the connection failed: no route"), "{outcome}");
    assert!(pair.clock().waited().is_empty());
}
