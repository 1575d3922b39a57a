//! Tests of the detection of the region: its sources, its repetition, and the reports of its result.

use std::future::IntoFuture as _;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use certbound::credential::ByCertificate;
use certbound::region::{DetectionFailure, RegionDetector, RegionOutcome, RegionSource};
use certbound::{Authority, Client, Cloud, Region, ResourceScope, TenantId};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, PlatformEndpoint, World};
use certbound_testkit::{AnsweringTransport, GatedTransport, NeverTransport, Pair, Seen};
use futures_util::future::join_all;

use crate::two_leg::vault;

/// The public cloud's authority for the built-in tenant. Its region is detected.
pub(crate) fn detecting() -> Authority {
    global().with_region(Region::detect())
}

pub(crate) fn global() -> Authority {
    Authority::public(TenantId::parse(builtin::TENANT).unwrap())
}

/// Returns a detector that reads these environment variables.
pub(crate) fn detector(set: &'static [(&'static str, &'static str)]) -> RegionDetector {
    RegionDetector::with_environment(move |name| {
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

/// Returns a transport whose metadata service answers by `metadata`. Its token service issues a token for each request.
pub(crate) fn machine(
    metadata: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static,
) -> AnsweringTransport {
    AnsweringTransport::new(move |seen| match is_metadata(seen) {
        true => metadata(seen),
        false => (200, r#"{"token_type":"mtls_pop","access_token":"T","expires_in":3600}"#.to_owned()),
    })
}

pub(crate) fn is_metadata(seen: &Seen) -> bool {
    seen.url.contains("/metadata/")
}

fn client(pair: &Pair, transport: &AnsweringTransport, regions: &RegionDetector) -> Client<ByCertificate> {
    pair.builder_at(detecting(), builtin::APP)
        .with_transport(transport.clone())
        .with_region_detector(regions.clone())
        .with_certificate(pair.certificate())
        .build()
        .unwrap()
}

/// Returns host and telemetry of the last token request.
pub(crate) fn last(transport: &AnsweringTransport) -> (String, String) {
    let seen = transport.seen().into_iter().rfind(|seen| !is_metadata(seen)).unwrap();
    let host = seen.url.split('/').nth(2).unwrap().to_owned();
    (host, seen.header("x-client-current-telemetry").to_owned())
}

fn count(transport: &AnsweringTransport) -> usize {
    transport.seen().iter().filter(|seen| is_metadata(seen)).count()
}

#[tokio::test]
async fn the_environment_comes_before_the_metadata_service() {
    const NAME: &str = "REGION_NAME";
    const LOCATION: &str = "COSMIC_LOCATION";
    let pair = Pair::new();
    for (set, region, source, number, requests) in [
        (&[(NAME, "West US 3"), (LOCATION, "eastus")][..], "westus3", RegionSource::RegionName, 3, 0),
        (&[(LOCATION, "EastUS")], "eastus", RegionSource::CosmicLocation, 3, 0),
        (&[(NAME, "evil.example/"), (LOCATION, "eastus")], "eastus", RegionSource::CosmicLocation, 3, 0),
        (&[(NAME, "evil.example/"), (LOCATION, "")], "centralus", RegionSource::MetadataService, 4, 1),
        (&[], "centralus", RegionSource::MetadataService, 4, 1),
    ] {
        let transport = machine(|_| (200, "centralus".to_owned()));
        let client = client(&pair, &transport, &detector(set));
        let details = client.bound_token(&vault()).await.unwrap().details();
        assert_eq!(details.region.as_ref().map(Region::as_str), Some(region), "{set:?}");
        let outcome = RegionOutcome::Detected { source, remembered: false };
        assert_eq!(details.region_outcome, Some(outcome), "{set:?}");
        let host = format!("{region}.mtlsauth.microsoft.com");
        assert_eq!(last(&transport), (host.clone(), format!("5|1004,2,{region},{number},4|0,1,6,,,")));
        assert_eq!(count(&transport), requests, "{set:?}");

        // The region is kept, and the next request reports that an earlier detection found it.
        pair.clock().advance(Duration::from_secs(3_600));
        let details = client.bound_token(&vault()).force_refresh().await.unwrap().details();
        let outcome = RegionOutcome::Detected { source, remembered: true };
        assert_eq!(details.region_outcome, Some(outcome.clone()));
        assert_eq!((&details.legs[0].region, &details.legs[0].region_outcome), (&details.region, &outcome));
        assert_eq!(last(&transport), (host, format!("5|1004,1,{region},2,4|0,1,6,,,")));
        assert_eq!(count(&transport), requests, "{set:?}");
    }
}

#[tokio::test]
async fn a_region_that_another_runtime_has_found_in_the_meantime_is_not_a_new_detection() {
    let (shared, is_first) = (Arc::new(OnceLock::<RegionDetector>::new()), AtomicBool::new(true));
    let in_environment = Arc::clone(&shared);
    let regions = RegionDetector::with_environment(move |_| {
        if is_first.swap(false, Ordering::SeqCst) {
            let other = in_environment.get().unwrap().clone();
            let detects = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(other.region(NeverTransport)).unwrap();
            };
            std::thread::spawn(detects).join().unwrap();
        }
        Some("eastus".to_owned())
    });
    assert!(shared.set(regions.clone()).is_ok());
    let (pair, transport) = (Pair::new(), machine(|_| (200, "centralus".to_owned())));
    let token = client(&pair, &transport, &regions).bound_token(&vault()).await.unwrap();
    let outcome = RegionOutcome::Detected { source: RegionSource::RegionName, remembered: true };
    assert_eq!(token.details().region_outcome, Some(outcome));
    assert_eq!(last(&transport).1, "5|1004,2,eastus,2,4|0,1,6,,,");
}

#[tokio::test]
async fn the_request_to_the_metadata_service_is_plain_and_local() {
    let pair = Pair::new();
    for (set, origin) in [
        (&[][..], "http://169.254.169.254"),
        (&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "")], "http://169.254.169.254"),
        (&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:4000/")], "http://127.0.0.1:4000"),
    ] {
        let transport = machine(|_| (200, "eastus".to_owned()));
        client(&pair, &transport, &detector(set)).bound_token(&vault()).await.unwrap();
        let seen = transport.seen();
        let path = "/metadata/instance/compute/location?api-version=2021-02-01&format=text";
        assert_eq!((seen[0].method.as_str(), &seen[0].url), ("GET", &format!("{origin}{path}")));
        assert_eq!(seen[0].headers, [("metadata".to_owned(), "true".to_owned())]);
        assert!(!seen[0].certificate && seen[1].certificate);
    }
    let transport = machine(|_| (200, "eastus".to_owned()));
    let regions = detector(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "127.0.0.1:4000")]);
    let token = client(&pair, &transport, &regions).bound_token(&vault()).await.unwrap();
    let failure = DetectionFailure::NotAUrl { variable: "AZURE_POD_IDENTITY_AUTHORITY_HOST" };
    assert_eq!(token.details().region_outcome, Some(RegionOutcome::NotDetected { failure }));
    assert_eq!(count(&transport), 0);
}

#[tokio::test]
async fn both_legs_use_the_region_of_the_emulated_machine_and_its_token_is_accepted() {
    let mut world = World::built_in();
    world.machine.location = "eastus".to_owned();
    let pair = Pair::with_world(world);
    let regions = detector(&[]);
    let builder = || pair.builder_at(detecting(), builtin::APP).with_region_detector(regions.clone());
    let leg1 = builder().with_certificate(pair.certificate()).build().unwrap();
    let leg2 = builder().with_assertions(leg1.clone()).build().unwrap();
    let token = leg2.bound_token(&ResourceScope::graph(Cloud::Public)).await.unwrap();
    let request = http::Request::get("https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1");
    let answer = token.resource().call(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let hosts: Vec<_> = pair.emulator().journal().into_iter().map(|entry| entry.host).collect();
    let regional = "eastus.mtlsauth.microsoft.com";
    assert_eq!(hosts, ["169.254.169.254", regional, regional, "mtlstb.graph.microsoft.com"]);
    let assertion = leg1.assertion().await.unwrap();
    assert_eq!(assertion.report().unwrap().region.as_ref().map(Region::as_str), Some("eastus"));
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_detection() {
    let pair = Pair::new();
    let transport = machine(|_| (200, "eastus".to_owned()));
    let regions = detector(&[]);
    let clients = [(); 3].map(|()| client(&pair, &transport, &regions));
    let scopes: Vec<_> =
        (0..10).map(|at| ResourceScope::parse(&format!("api://app{at}/.default")).unwrap()).collect();
    let all = clients.iter().flat_map(|client| scopes.iter().map(move |scope| client.bound_token(scope)));
    for token in join_all(all.map(|acquire| acquire.into_future())).await {
        assert_eq!(token.unwrap().details().region.as_ref().map(Region::as_str), Some("eastus"));
    }
    assert_eq!((transport.seen().len(), count(&transport)), (31, 1));
    // A client with its own transport has its own detection, unless it is built with a shared detector.
    let other = client(&pair, &transport, &detector(&[]));
    other.bound_token(&vault()).await.unwrap();
    assert_eq!(count(&transport), 2);
}

#[tokio::test]
async fn a_failure_is_tried_again_after_five_minutes_and_a_region_is_kept() {
    let pair = Pair::new();
    let status = Arc::new(AtomicU16::new(404));
    let answer = Arc::clone(&status);
    let transport = machine(move |_| (answer.load(Ordering::SeqCst), "eastus".to_owned()));
    let client = client(&pair, &transport, &detector(&[]));
    let scope = vault();
    let acquire = || client.bound_token(&scope).force_refresh().into_future();
    let failed = "5|1004,1,,1,5|0,1,6,,,";
    let global = "mtlsauth.microsoft.com".to_owned();
    for (seconds, requests) in [(0, 1), (0, 1), (299, 1), (1, 2), (299, 2)] {
        pair.clock().advance(Duration::from_secs(seconds));
        acquire().await.unwrap();
        assert_eq!((last(&transport), count(&transport)), ((global.clone(), failed.to_owned()), requests));
    }
    // If the clock was set back, the pause does not become longer.
    pair.clock()
        .set(certbound::UnixTime::from_secs(certbound::clock::Clock::now(pair.clock()).as_secs() - 500));
    acquire().await.unwrap();
    assert_eq!(count(&transport), 3);
    status.store(200, Ordering::SeqCst);
    pair.clock().advance(Duration::from_secs(300));
    acquire().await.unwrap();
    let regional = "eastus.mtlsauth.microsoft.com";
    assert_eq!(last(&transport), (regional.to_owned(), "5|1004,1,eastus,4,4|0,1,6,,,".to_owned()));
    // A later failure of the metadata service has no effect.
    status.store(500, Ordering::SeqCst);
    pair.clock().advance(Duration::from_secs(86_400));
    acquire().await.unwrap();
    assert_eq!((last(&transport).0.as_str(), count(&transport)), (regional, 4));
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_failure_behind() {
    let pair = Pair::new();
    let gate = GatedTransport::new(pair.transport());
    gate.close("/metadata/");
    let client = pair
        .builder_at(detecting(), builtin::APP)
        .with_transport(gate.clone())
        .with_region_detector(detector(&[]))
        .with_certificate(pair.certificate())
        .build()
        .unwrap();
    let scope = vault();
    let mut acquiring = Box::pin(client.bound_token(&scope).into_future());
    while gate.waiting() == 0 {
        assert!(futures_util::poll!(&mut acquiring).is_pending());
        tokio::task::yield_now().await;
    }
    drop(acquiring);
    while gate.waiting() > 0 {
        tokio::task::yield_now().await;
    }
    gate.open();
    let details = client.bound_token(&scope).await.unwrap().details();
    assert_eq!(details.region.as_ref().map(Region::as_str), Some("westus3"));
}

#[tokio::test]
async fn nothing_is_detected_for_requests_without_regions() {
    let pair = Pair::new();
    let regions = RegionDetector::with_environment(|name| panic!("{name} is read"));
    let dsts = Authority::parse("https://host.example/dstsv2/contoso.com").unwrap();
    let fixed = Region::parse("eastus").unwrap();
    for authority in [dsts.with_region(Region::detect()), global(), global().with_region(fixed)] {
        let transport = machine(|_| panic!("the metadata service is asked"));
        let client = pair
            .builder_at(authority.clone(), builtin::APP)
            .with_transport(transport.clone())
            .with_region_detector(regions.clone())
            .with_certificate(pair.certificate())
            .build()
            .unwrap();
        let details = client.bound_token(&vault()).await.unwrap().details();
        let named = authority.region().is_some();
        let outcome = if named { RegionOutcome::Named } else { RegionOutcome::NotUsed };
        assert_eq!(details.region_outcome, Some(outcome), "{authority}");
    }
    // An authority without a mutual-TLS host is refused before the detection.
    let refused = Authority::parse("https://sts.windows.net/contoso.com").unwrap();
    let client = pair
        .builder_at(refused.with_region(Region::detect()), builtin::APP)
        .with_region_detector(regions.clone())
        .with_certificate(pair.certificate())
        .build()
        .unwrap();
    let error = client.bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "mtls_pop_not_supported_for_environment");
    // A hit needs no region.
    let transport = machine(|_| (200, "eastus".to_owned()));
    let regions = detector(&[]);
    let client = self::client(&pair, &transport, &regions);
    client.bound_token(&vault()).await.unwrap();
    client.bound_token(&vault()).await.unwrap();
    assert_eq!(transport.seen().len(), 2);
}

#[tokio::test]
async fn another_host_and_own_metadata_are_refused_beside_a_region_that_is_detected() {
    let pair = Pair::new();
    let transport = machine(|_| panic!("the metadata service is asked"));
    let client = client(&pair, &transport, &detector(&[]));
    let other = Authority::parse("https://login.windows.net/contoso.com").unwrap();
    let error = client.bound_token(&vault()).authority(other).await.unwrap_err();
    assert_eq!(error.code(), "authority_override_regional");
    assert!(transport.seen().is_empty());

    let transport = machine(|_| (200, "eastus".to_owned()));
    let client = self::client(&pair, &transport, &detector(&[]));
    let same = Authority::parse("https://login.microsoftonline.com/fabrikam.com").unwrap();
    client.bound_token(&vault()).authority(same).await.unwrap();
    let tenant = TenantId::parse("tailspin.com").unwrap();
    client.bound_token(&vault()).tenant(tenant).await.unwrap();
    let hosts: Vec<_> =
        transport.seen().iter().map(|seen| seen.url.split('/').nth(2).unwrap().to_owned()).collect();
    let regional = "eastus.mtlsauth.microsoft.com";
    assert_eq!(hosts, ["169.254.169.254", regional, regional]);

    let document = br#"{"metadata":[{"preferred_network":"login.microsoftonline.com","preferred_cache":"login.windows.net","aliases":["login.microsoftonline.com"]}]}"#;
    let metadata = certbound::authority::InstanceMetadata::parse(document).unwrap();
    let builder = pair.builder_at(detecting(), builtin::APP).with_instance_metadata(metadata);
    let error = builder.with_certificate(pair.certificate()).build().unwrap_err();
    assert_eq!(error.code(), "region_discovery_with_custom_instance_metadata");
}

#[tokio::test]
async fn a_refusal_says_how_the_region_was_determined() {
    let pair = Pair::new();
    for (answer, name, parts) in [
        ((200, "eastus"), "detected", ["region eastus (read from the metadata service)", "eastus.mtlsauth"]),
        (
            (404, ""),
            "not_detected",
            ["region not detected: the metadata service answered with status 404", "//mtlsauth"],
        ),
    ] {
        let transport = AnsweringTransport::new(move |seen| match is_metadata(seen) {
            true => (answer.0, answer.1.to_owned()),
            false => {
                (400, r#"{"error":"invalid_client","error_description":"AADSTS700016: No."}"#.to_owned())
            }
        });
        let client = client(&pair, &transport, &detector(&[]));
        let error = client.bound_token(&vault()).await.unwrap_err();
        assert_eq!(error.region_outcome().map(RegionOutcome::name), Some(name));
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

/// If a fault breaks the emulator's metadata service, the token is requested from the global host. The token is bound
/// as usual.
#[tokio::test]
async fn a_broken_metadata_service_leads_to_the_global_host_and_never_to_less_than_was_asked_for() {
    let status = |status, body: &str| FaultResult::Status {
        status,
        body: body.to_owned(),
        retry_after: None,
        headers: Default::default(),
    };
    for (fault, reason) in [
        (FaultResult::Delay { milliseconds: 600_000 }, "cannot be reached"),
        (FaultResult::ConnectionReset, "cannot be reached"),
        (FaultResult::Redirect307 { location: "http://elsewhere.example/".to_owned() }, "status 307"),
        (status(404, ""), "status 404"),
        (status(500, ""), "status 500"),
        (status(200, "West US 3"), "`West US 3`"),
        (status(400, ""), "names no version"),
    ] {
        let pair = Pair::new();
        let condition = Condition::endpoint(PlatformEndpoint::InstanceMetadata);
        pair.emulator().add_fault(Fault::always(condition, fault));
        let builder = || pair.builder_at(detecting(), builtin::APP).with_region_detector(detector(&[]));
        let leg1 = builder().with_certificate(pair.certificate()).build().unwrap();
        let leg2 = builder().with_assertions(leg1).build().unwrap();
        let token = leg2.bound_token(&vault()).await.unwrap();
        let details = token.details();
        assert!(details.binding_observed && details.endpoint.starts_with("https://mtlsauth.microsoft.com/"));
        assert_eq!((details.token_type.as_str(), details.region), ("mtls_pop", None));
        let outcome = details.region_outcome.unwrap();
        assert!(outcome.reason().unwrap().contains(reason), "{outcome}");
    }
    // The service supports other versions. The first fault names them at once, and the second fault only if the request
    // names no version.
    for body in [r#"{"error":"Bad request.","newest-versions":["2023-07-01"]}"#, ""] {
        let pair = Pair::new();
        let condition = Condition::endpoint(PlatformEndpoint::InstanceMetadata);
        pair.emulator().add_fault(Fault::once(condition, status(400, body)));
        let builder = pair.builder_at(detecting(), builtin::APP).with_region_detector(detector(&[]));
        let client = builder.with_certificate(pair.certificate()).build().unwrap();
        let details = client.bound_token(&vault()).await.unwrap().details();
        assert_eq!(details.region.as_ref().map(Region::as_str), Some("westus3"), "{body}");
        let journal = pair.emulator().journal();
        let asked: Vec<_> = journal.iter().filter(|it| it.path.ends_with("/location")).collect();
        assert_eq!(asked.len(), if body.is_empty() { 3 } else { 2 });
        assert_eq!(asked.last().unwrap().parameter("api-version"), Some("2023-07-01"));
    }
}
