//! No secret is logged, at any level, and the test that says so can see one.

use certbound::{Cloud, ManagedIdentity, ResourceScope, Secret};
use certbound_testkit::emulator::PLATFORM_SECRET;
use certbound_testkit::{CapturedLogs, Pair};

fn vault() -> ResourceScope {
    ResourceScope::key_vault(Cloud::Public)
}

#[tokio::test]
async fn the_whole_flow_logs_no_secret() {
    let logs = CapturedLogs::begin();
    let pair = Pair::new();
    let leg1 = pair.leg1();
    let assertion = leg1.assertion().await.unwrap();
    let leg2 = pair.leg2();
    let bound = leg2.bound_token(&vault()).await.unwrap();
    let bearer = leg2.bearer_token(&vault()).await.unwrap();
    let request = http::Request::get("https://demo.vault.azure.net/secrets/demo?api-version=7.4");
    leg2.resource(&vault()).call(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    tracing::trace!("{assertion:?} {bound:?} {bearer:?} {leg2:?} {:?}", pair.certificate());

    let thumbprint = pair.emulator().service_fabric_thumbprint();
    let node = ManagedIdentity::system_assigned().with_transport(pair.transport());
    let node = node.with_clock(pair.clock().clone()).with_environment(move |name| match name {
        "IDENTITY_ENDPOINT" => Some("https://169.254.169.254/service-fabric/token".to_owned()),
        "IDENTITY_HEADER" => Some(PLATFORM_SECRET.to_owned()),
        "IDENTITY_SERVER_THUMBPRINT" => Some(thumbprint.to_string()),
        _ => None,
    });
    let node = node.build().unwrap();
    let of_node = node.bearer_token(&vault()).await.unwrap();
    tracing::trace!("{node:?} {of_node:?}");

    let text = logs.text();
    assert!(!text.contains(PLATFORM_SECRET), "the platform's secret was logged");
    assert!(text.contains("token request"), "nothing was captured:\n{text}");
    for secret in [assertion.secret(), bound.secret(), bearer.secret(), of_node.secret()] {
        let secret = secret.expose();
        assert!(!text.contains(secret), "a whole token was logged");
        // Not a piece of it either: the signature is what makes it worth something.
        assert!(!text.contains(&secret[secret.len() - 40..]), "a token's signature was logged");
    }
    assert!(!text.contains("PRIVATE KEY"));

    // The positive control: a planted secret is found by the same means.
    let planted = Secret::new("planted-secret-value");
    tracing::trace!("{}", planted.expose());
    assert!(logs.text().contains("planted-secret-value"));
    log::trace!("{} by log", planted.expose());
    assert!(logs.text().contains("planted-secret-value by log"));
}
