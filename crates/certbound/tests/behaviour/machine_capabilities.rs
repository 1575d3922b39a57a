//! Tests of the capabilities of a machine. The metadata service refuses the probes with status 400.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use certbound::clock::Clock as _;
use certbound::error::{KeyError, Phase, ProbeFailure, TransportError};
use certbound::managed_identity::{
    Capabilities, IdentityId, ImdsVersion, KeyProvider, KeyStrength, MachineKey, MachineSource,
    ManagedIdentityBuilder,
};
use certbound::transport::{Answer, Via};
use certbound::{ManagedIdentity, Transport, UnixTime};
use certbound_testkit::{AnsweringTransport, ManualClock, NeverTransport, Pair, ScriptedTransport, Seen};

use crate::two_leg::vault;

const V2: &str = "http://169.254.169.254/metadata/identity/getplatformmetadata?cred-api-version=2.0";
const V1: &str = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01";
const COMPUTE: &str = "http://169.254.169.254/metadata/instance/compute?api-version=2021-02-01";
const GUID: &str = "98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514";
const APP_SERVICE: [(&str, &str); 2] =
    [("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi/token"), ("IDENTITY_HEADER", "H")];

fn clock() -> ManualClock {
    ManualClock::at(UnixTime::from_secs(1_785_000_000))
}

fn builder(transport: impl Transport) -> ManagedIdentityBuilder {
    ManagedIdentity::system_assigned()
        .with_environment(|_| None)
        .with_transport(transport)
        .with_clock(clock())
}

/// Returns a metadata service. Its two versions answer with `v2` and `v1`, and it describes the machine by `compute`.
fn answering(v2: u16, v1: u16, compute: &'static str) -> AnsweringTransport {
    AnsweringTransport::new(move |seen: &Seen| match &seen.url {
        url if url.contains("getplatformmetadata") => (v2, String::new()),
        url if url.contains("oauth2/token") => (v1, String::new()),
        _ => (200, compute.to_owned()),
    })
}

fn urls(transport: &AnsweringTransport) -> Vec<String> {
    transport.seen().into_iter().map(|seen| seen.url).collect()
}

#[tokio::test]
async fn a_platform_of_the_environment_is_believed_and_asks_nobody() {
    const ML: [(&str, &str); 3] =
        [("MSI_ENDPOINT", "http://127.0.0.1:42"), ("MSI_SECRET", "S"), ("DEFAULT_IDENTITY_CLIENT_ID", GUID)];
    const FABRIC: [(&str, &str); 3] = [
        ("IDENTITY_ENDPOINT", "https://127.0.0.1:43"),
        ("IDENTITY_HEADER", "H"),
        ("IDENTITY_SERVER_THUMBPRINT", "A9993E364706816ABA3E25717850C26C9CD0D89D"),
    ];
    for (variables, named, origin) in [
        (&APP_SERVICE[..], None, MachineSource::AppService),
        (&FABRIC[..], None, MachineSource::ServiceFabric),
        (&ML[..], None, MachineSource::MachineLearning),
        (&ML[..1], None, MachineSource::CloudShell),
        (
            &[("IDENTITY_ENDPOINT", "http://127.0.0.1:44"), ("IMDS_ENDPOINT", "x")],
            None,
            MachineSource::AzureArc,
        ),
        (&[], Some(MachineSource::AzureArc), MachineSource::AzureArc),
    ] {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let identity = builder(NeverTransport).with_environment(variable);
        let identity = if let Some(named) = named { identity.at(named) } else { identity };
        let can = identity.build().unwrap().capabilities().await.unwrap();
        assert_eq!((can.origin, can.imds, can.binds, can.strength), (origin, None, false, None));
    }
}

#[tokio::test]
async fn the_newer_version_is_asked_for_first_and_by_its_name_for_an_identity() {
    for (id, selector) in [
        (IdentityId::System, String::new()),
        (IdentityId::client_id(GUID).unwrap(), format!("&client_id={GUID}")),
        (IdentityId::object_id(GUID).unwrap(), format!("&object_id={GUID}")),
        (IdentityId::resource_id("/subscriptions/a").unwrap(), "&mi_res_id=%2Fsubscriptions%2Fa".to_owned()),
    ] {
        // A service of version 2 refuses the probe of version 1 too.
        for (v2, expected) in [(400, vec![V2]), (404, vec![V2, V1])] {
            let transport = answering(v2, 400, "{}");
            let builder = ManagedIdentity::builder(id.clone()).with_environment(|_| None);
            let identity = builder.with_transport(transport.clone()).with_clock(clock()).build().unwrap();
            let can = identity.capabilities().await.unwrap();
            let expected: Vec<String> = expected.iter().map(|url| format!("{url}{selector}")).collect();
            let probes: Vec<Seen> = transport.seen().into_iter().filter(|seen| seen.url != COMPUTE).collect();
            let asked: Vec<&String> = probes.iter().map(|seen| &seen.url).collect();
            assert_eq!(asked, expected.iter().collect::<Vec<_>>());
            for probe in &probes {
                assert_eq!((probe.method.as_str(), probe.header("metadata")), ("GET", ""));
                assert_eq!(probe.header("x-ms-client-request-id").len(), 36);
            }
            assert_eq!(can.binds, v2 == 400);
        }
    }
}

#[tokio::test]
async fn the_older_version_binds_nothing_whatever_its_machine_is_good_for() {
    let windows = r#"{"osType":"Windows","securityProfile":{"securityType":"TrustedLaunch"}}"#;
    let linux = r#"{"osType":"Linux","securityProfile":{"securityType":"TrustedLaunch"}}"#;
    for (compute, strength) in [(windows, Some(KeyStrength::Software)), (linux, None), ("<html>", None)] {
        let transport = answering(404, 400, compute);
        let can = builder(transport.clone()).build().unwrap().capabilities().await.unwrap();
        assert_eq!((can.imds, can.binds, can.strength), (Some(ImdsVersion::V1), false, strength));
        assert_eq!(urls(&transport), [V2, V1, COMPUTE]);
        assert_eq!(transport.seen()[2].header("metadata"), "true");
    }
}

#[tokio::test]
async fn only_400_says_that_it_is_there() {
    for status in [200, 401, 403, 404, 405] {
        let transport = answering(status, status, "{}");
        let error = builder(transport.clone()).build().unwrap().capabilities().await.unwrap_err();
        assert_eq!(error.code(), "managed_identity_all_sources_unavailable", "{status}");
        assert_eq!(error.to_string().matches(&format!("status {status} ")).count(), 2, "{error}");
        // 404 ends a probe at once; a request for a token would be retried.
        assert_eq!(urls(&transport), [V2, V1], "{status}");
    }
}

#[tokio::test]
async fn both_reasons_are_told_and_the_next_call_asks_anew() {
    let unreachable = || TransportError::Connect { host: "h".to_owned(), reason: "no route".into() };
    let late = TransportError::TimedOut {
        host: "h".to_owned(),
        phase: Phase::Exchange,
        limit: Duration::from_secs(9),
        proxy: None,
    };
    let transport = ScriptedTransport::default().then_fails(unreachable()).then(403, "").then(400, "");
    // If a service does not answer in time, it is treated as absent, and the probe is not retried.
    let transport = transport.then_fails(late).then_fails(unreachable());
    let clock = clock();
    let identity = builder(transport.clone()).with_clock(clock.clone()).build().unwrap();
    let error = identity.capabilities().await.unwrap_err();
    assert!(error.to_string().contains("no route") && error.to_string().contains("status 403"), "{error}");
    let certbound::Error::Platform { what: certbound::error::PlatformError::NoSource(found), .. } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(found.v2, ProbeFailure::Unreachable(unreachable()));
    assert_eq!(found.v1, ProbeFailure::Answered { status: 403 });
    assert!(!found.is_unreachable() && error.is_transient() && error.fix().contains("169.254.169.254"));
    assert_eq!(identity.capabilities().await.unwrap().imds, Some(ImdsVersion::V2));
    let error = identity.capabilities().await.unwrap_err();
    let certbound::Error::Platform { what: certbound::error::PlatformError::NoSource(found), .. } = &error
    else {
        panic!("{error:?}");
    };
    assert!(found.is_unreachable());
    assert_eq!((transport.left(), clock.waited().len()), (0, 0));
}

#[tokio::test]
async fn a_probe_is_repeated_by_its_table() {
    let clock = clock();
    let transport = ScriptedTransport::default().then(503, "").then(500, "").then(400, "");
    let identity = builder(transport).with_clock(clock.clone()).build().unwrap();
    assert!(identity.capabilities().await.unwrap().binds);
    assert_eq!(clock.waited(), [1, 2].map(Duration::from_secs));
}

#[tokio::test]
async fn a_hundred_who_ask_at_once_probe_once() {
    for (v2, expected) in [(400, vec![V2]), (404, vec![V2, V1])] {
        let transport = answering(v2, 404, "{}");
        let identity = builder(transport.clone()).build().unwrap();
        let all = (0..100).map(|_| identity.capabilities());
        let all: Vec<Result<Capabilities, certbound::Error>> = futures_util::future::join_all(all).await;
        assert!(all.iter().all(|found| found.is_ok() == (v2 == 400)));
        assert_eq!(urls(&transport), expected);
    }
}

/// Answers no request.
struct Silent;

impl Transport for Silent {
    async fn send(&self, _: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_search_that_exceeds_its_limit_is_a_timeout_and_nothing_is_remembered() {
    // The limit holds for a service that does not answer, and for retries of which each one is quick.
    let clock = clock();
    let limit = Duration::from_secs(3);
    let silent = builder(Silent).with_clock(clock.clone()).build().unwrap();
    let error = silent.capabilities_within(limit).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("request_timeout", true));
    assert!(error.to_string().contains("took longer than 3 s"), "{error}");
    assert_eq!(clock.waited(), [limit]);

    let status = Arc::new(AtomicUsize::new(503));
    let answered = Arc::clone(&status);
    let transport = AnsweringTransport::new(move |_| (answered.load(Ordering::SeqCst) as u16, String::new()));
    let identity = builder(transport.clone()).build().unwrap();
    let error = identity.capabilities_within(limit).await.unwrap_err();
    assert_eq!(error.code(), "request_timeout");
    // The search has ended, so no retry follows.
    let probes = urls(&transport).len();
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
    assert_eq!(urls(&transport).len(), probes);
    status.store(400, Ordering::SeqCst);
    assert!(identity.capabilities_within(limit).await.unwrap().binds);
    assert_eq!(urls(&transport), vec![V2; probes + 1]);
}

#[tokio::test]
async fn a_limit_does_not_delay_a_result_and_zero_sends_nothing() {
    let identity = builder(answering(400, 400, "{}")).build().unwrap();
    assert!(identity.capabilities_within(Duration::MAX).await.unwrap().binds);
    let zero = builder(NeverTransport).build().unwrap();
    assert_eq!(zero.capabilities_within(Duration::ZERO).await.unwrap_err().code(), "request_timeout");
    let variable = |name: &str| (name == "MSI_ENDPOINT").then(|| "http://127.0.0.1:42".to_owned());
    let named = builder(NeverTransport).with_environment(variable).build().unwrap();
    let can = named.capabilities_within(Duration::ZERO).await.unwrap();
    assert_eq!(can.origin, MachineSource::CloudShell);
    // The caller with the limit gives up, and the other caller's search continues.
    let silent = builder(Silent).build().unwrap();
    let other = tokio::spawn({
        let silent = silent.clone();
        async move { silent.capabilities().await.is_ok() }
    });
    silent.capabilities_within(Duration::from_secs(1)).await.unwrap_err();
    assert!(!other.is_finished());
    other.abort();
}

/// Reports a key strength, and counts the requests for the key.
struct Counting(Arc<AtomicUsize>);

impl KeyProvider for Counting {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Hardware
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(KeyError::new("this provider has no key"))
    }
}

#[tokio::test]
async fn the_strength_is_told_without_a_key() {
    let made = Arc::new(AtomicUsize::new(0));
    let identity = builder(answering(400, 400, "{}")).with_keys(Counting(Arc::clone(&made))).build().unwrap();
    assert_eq!(identity.capabilities().await.unwrap().strength, Some(KeyStrength::Hardware));
    assert_eq!(made.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_emulated_machine_is_found_out() {
    let pair = Pair::new();
    let identity = pair.managed_identity(IdentityId::System).build().unwrap();
    let can = identity.capabilities().await.unwrap();
    assert_eq!((can.imds, can.binds), (Some(ImdsVersion::V2), true));
    assert_eq!(can.strength, Some(KeyStrength::Software));
    // The result changes no later request.
    let asked = pair.emulator().journal().len();
    identity.bearer_token(&vault()).await.unwrap();
    assert_eq!((asked, pair.emulator().journal().len()), (1, 2));
    assert!(pair.clock().waited().is_empty() && pair.clock().now() == UnixTime::from_secs(1_785_000_000));
}
