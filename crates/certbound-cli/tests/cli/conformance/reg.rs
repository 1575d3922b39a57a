//! REG: regions.

use std::collections::BTreeSet;

use certbound::credential::ByCertificate;
use certbound::region::{RegionDetector, RegionOutcome, RegionSource};
use certbound::retry::RetryPolicy;
use certbound::{Client, Region, TokenCache};
use certbound_emulator::world::builtin::ORDERS_HOST;
use certbound_emulator::{Condition, Fault, FaultResult, IMDS_HOST, PlatformEndpoint};

use super::evidence::{Evidence, joined};
use super::pki;
use super::rows::rows;
use super::stage::{
    MTLS_HOST, Stage, confirmation, global, graph, in_region, is_bound_by_certificate, only, order, orders,
    output,
};
use super::trap::Trap;
use crate::support::{self, APP, TENANT, refusal};

rows! {
    ("REG-01", 0, "A request goes to the host of the configured region, and the details of the token name the region.", a_configured_region_is_used),
    (
        "REG-02",
        0,
        "Without a region a request goes to the global host, and the details of the token name no region.",
        without_a_region_none_is_used
    ),
    (
        "REG-03",
        0,
        "The metadata service of the machine names `eastus`. The request goes to the host of this region.",
        the_region_of_the_machine_is_detected_and_used
    ),
    (
        "REG-04",
        0,
        "If the detection fails, the request goes to the global host, and it is still a request for a bound token.",
        a_failed_detection_uses_the_global_host
    ),
    (
        "REG-05",
        1,
        "A configured region that is malformed is an error before any request. A malformed region from the metadata \
         service is ignored. If the host of a well-formed region cannot be reached, the error names the region.",
        a_malformed_region_reaches_no_host
    ),
    (
        "REG-06",
        0,
        "A resource answers 200 to a call with a token of a regional host.",
        a_resource_accepts_a_regional_token
    ),
    (
        "REG-07",
        1,
        "A global client and then a regional client share a certificate and a cache. The region is not part of the cache \
         key. The regional client gets the cached token, with the certificate to which the token is bound.",
        a_region_does_not_change_the_cache_key
    ),
}

#[tokio::main(flavor = "current_thread")]
async fn a_configured_region_is_used() -> Evidence {
    let stage = Stage::new().await;
    let client = stage.at(in_region("eastus2")).with_certificate(pki::c().binding()).build().unwrap();
    let details = client.bound_token(&graph()).await.unwrap().details();
    let region = details.region.as_ref().map(Region::as_str);
    assert_eq!(region, Some("eastus2"));
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), "eastus2.mtlsauth.microsoft.com", pki::c());
    Evidence::of(journal).fact("region of the token", region.unwrap_or("none"))
}

#[tokio::main(flavor = "current_thread")]
async fn without_a_region_none_is_used() -> Evidence {
    let stage = Stage::new().await;
    let details = stage.client(pki::c().binding()).bound_token(&graph()).await.unwrap().details();
    assert_eq!(details.region, None);
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal).fact("region of the token", details.region.as_ref().map_or("none", Region::as_str))
}

/// Returns a client that detects the region by the emulated metadata service only.
fn detecting(stage: &Stage) -> Client<ByCertificate> {
    let metadata = stage.server.metadata_url();
    let detector = RegionDetector::with_environment(move |name| {
        (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| metadata.clone())
    });
    let builder = stage.at(global().with_region(Region::detect())).with_region_detector(detector);
    builder.with_certificate(pki::c().binding()).build().unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn the_region_of_the_machine_is_detected_and_used() -> Evidence {
    let stage = Stage::with(|world| world.machine.location = "eastus".to_owned()).await;
    let details = detecting(&stage).bound_token(&graph()).await.unwrap().details();
    let outcome = RegionOutcome::Detected { source: RegionSource::MetadataService, remembered: false };
    assert_eq!(details.region_outcome, Some(outcome.clone()));
    let journal = stage.journal();
    assert_eq!((journal.len(), journal[0].host.as_str()), (2, IMDS_HOST));
    is_bound_by_certificate(&journal[1], "eastus.mtlsauth.microsoft.com", pki::c());
    Evidence::of(journal)
        .fact("region of the token", details.region.unwrap().as_str())
        .fact("origin of the region", outcome.name())
}

/// Makes the metadata service answer each question about the region like this.
fn metadata_answers(stage: &Stage, status: u16, body: &str) {
    let answer = FaultResult::Status { status, body: body.to_owned(), retry_after: None, headers: [].into() };
    let condition = Condition::endpoint(PlatformEndpoint::InstanceMetadata);
    assert!(stage.emulator.add_fault(Fault::always(condition, answer)));
}

#[tokio::main(flavor = "current_thread")]
async fn a_failed_detection_uses_the_global_host() -> Evidence {
    let stage = Stage::new().await;
    metadata_answers(&stage, 404, "");
    let token = detecting(&stage).bound_token(&graph()).await.unwrap();
    let details = token.details();
    assert_eq!((details.region.as_ref(), details.token_type.as_str()), (None, "mtls_pop"));
    let journal = stage.journal();
    assert_eq!((journal.len(), journal[0].host.as_str()), (2, IMDS_HOST));
    is_bound_by_certificate(&journal[1], MTLS_HOST, pki::c());
    Evidence::of(journal).fact("result of the detection", details.region_outcome.unwrap().name())
}

#[tokio::main(flavor = "current_thread")]
async fn a_malformed_region_reaches_no_host() -> Evidence {
    const MALFORMED: [&str; 5] = ["evil.example/", "west.us3", "west-us", "eastus@evil.example", "é"];
    let (trap, stage) = (Trap::new(), Stage::new().await);
    let (mut of_library, mut of_command) = (BTreeSet::new(), BTreeSet::new());
    for region in MALFORMED {
        of_library.insert(Region::parse(region).unwrap_err().code().to_owned());
        let mut command = support::certbound();
        command.env("HTTPS_PROXY", trap.url()).args(["token", "-o", "json", "--region", region]);
        command.args(["--scope", graph().as_str(), "--tenant", TENANT, "--client-id", APP]);
        command.args(["--certificate", &stage.file("C")]);
        let (exit, code) = refusal(&output(command).await);
        of_command.insert(format!("exit code {exit}, {code}"));
    }
    assert_eq!(of_library, BTreeSet::from(["invalid_region".to_owned()]));
    assert_eq!(of_command, BTreeSet::from(["exit code 2, invalid_region".to_owned()]));
    let connections = trap.connections();
    assert_eq!(connections, 0);
    // The metadata service names each malformed region to one client.
    for region in MALFORMED {
        stage.emulator.clear_faults();
        metadata_answers(&stage, 200, region);
        let details = detecting(&stage).bound_token(&graph()).await.unwrap().details();
        assert_eq!(details.region, None, "{region}");
    }
    // A well-formed region that does not exist has no host.
    let host = "nosuchregion.mtlsauth.microsoft.com";
    let condition = Condition { host_suffix: Some(host.to_owned()), ..Condition::any() };
    assert!(stage.emulator.add_fault(Fault::always(condition, FaultResult::Unreachable)));
    let builder = stage.at(in_region("nosuchregion")).with_retry_policy(RetryPolicy::none());
    let client = builder.with_certificate(pki::c().binding()).build().unwrap();
    let unknown = client.bound_token(&graph()).await.unwrap_err();
    let named = unknown.region().map_or("none", Region::as_str);
    assert_eq!(named, "nosuchregion", "{unknown}");
    let journal = stage.journal();
    assert_eq!(journal.len(), 2 * MALFORMED.len());
    for pair in journal.chunks(2) {
        assert_eq!(pair[0].host, IMDS_HOST);
        is_bound_by_certificate(&pair[1], MTLS_HOST, pki::c());
    }
    Evidence::in_any_order(journal)
        .fact("malformed regions", MALFORMED.join("  "))
        .fact("errors of the library for these regions", joined(&of_library))
        .fact("results of certbound token --region for these regions", joined(&of_command))
        .fact("connections that the configured proxy saw from these commands", connections)
        .fact(
            "error for the region nosuchregion, whose host cannot be reached",
            format!("{}, with the region {named}", unknown.code()),
        )
}

#[tokio::main(flavor = "current_thread")]
async fn a_resource_accepts_a_regional_token() -> Evidence {
    let stage = Stage::new().await;
    let client = stage.at(in_region("westus3")).with_certificate(pki::c().binding()).build().unwrap();
    let answer = client.resource(&orders()).call(order()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_bound_by_certificate(&journal[0], "westus3.mtlsauth.microsoft.com", pki::c());
    assert_eq!((journal[1].host.as_str(), journal[1].status), (ORDERS_HOST, 200));
    assert_eq!(journal[1].authorization_scheme.as_deref(), Some("mtls_pop"));
    assert_eq!(journal[1].client_certificate, journal[0].client_certificate);
    Evidence::of(journal)
}

#[tokio::main(flavor = "current_thread")]
async fn a_region_does_not_change_the_cache_key() -> Evidence {
    let stage = Stage::new().await;
    let cache = TokenCache::new();
    let client = |authority| {
        let builder = stage.at(authority).with_cache(cache.clone());
        builder.with_certificate(pki::c().binding()).build().unwrap()
    };
    let first = client(global()).bound_token(&graph()).await.unwrap();
    let second = client(in_region("westus3")).bound_token(&graph()).await.unwrap();
    assert_eq!(second.details().source, certbound::cache::Source::Cache);
    assert_eq!(first.secret().expose(), second.secret().expose());
    assert_eq!(second.binding().thumbprint(), pki::c().thumbprint());
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal)
        .fact("origin of the regional client's token", format!("{:?}", second.details().source))
        .fact("cnf of the regional client's token", confirmation(&second))
}
