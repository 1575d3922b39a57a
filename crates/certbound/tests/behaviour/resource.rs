//! Calling resources: scheme, headers and certificate all come from the token.

use bytes::Bytes;
use certbound::{
    Cloud, Error, Resource, ResourceProfile, ResourceScope, Transport as _, TransportError, Via,
};
use certbound_testkit::Pair;
use certbound_testkit::emulator::world::builtin;

use crate::two_leg::vault;

const SECRET_URL: &str = "https://demo.vault.azure.net/secrets/demo?api-version=7.4";
const GRAPH_URL: &str = "https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1";
const ORDERS_URL: &str = "https://orders.contoso.example/orders";

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

fn orders() -> ResourceScope {
    ResourceScope::parse("api://orders/.default").unwrap()
}

/// Acceptance check 10, at each kind of resource.
#[tokio::test]
async fn a_bound_token_opens_each_resource() {
    let pair = Pair::new();
    let leg2 = pair.leg2();
    for (scope, url) in
        [(vault(), SECRET_URL), (ResourceScope::graph(Cloud::Public), GRAPH_URL), (orders(), ORDERS_URL)]
    {
        let answer = leg2.resource(&scope).call(get(url)).await.unwrap();
        assert_eq!(answer.status(), 200, "{url}: {:?}", answer.body());
        let token = leg2.bound_token(&scope).await.unwrap();
        let answer = token.resource().call(get(url)).await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
    }
}

#[tokio::test]
async fn the_wrong_scheme_the_wrong_certificate_and_none_are_refused_by_the_resource() {
    let pair = Pair::new();
    let token = pair.leg2().bound_token(&ResourceScope::graph(Cloud::Public)).await.unwrap();
    let wrong_scheme =
        token.resource().with_profile(ResourceProfile::rfc8705()).call(get(GRAPH_URL)).await.unwrap();
    assert_eq!(wrong_scheme.status(), 401);
    assert!(
        String::from_utf8_lossy(wrong_scheme.body())
            .contains("Cnf claim not supported over Bearer protocol.")
    );

    let with = |scheme: &str| {
        let mut request = get(GRAPH_URL);
        let value = format!("{scheme} {}", token.secret().expose()).parse().unwrap();
        request.headers_mut().insert("authorization", value);
        request
    };
    let none = pair.transport().send(with("mtls_pop"), Via::Tls).await.unwrap().response;
    assert!(String::from_utf8_lossy(none.body()).contains("MtlsMissingClientCertificate"), "{none:?}");
    let other = certbound::Binding::new(pair.other_certificate());
    let other = pair.transport().send(with("mtls_pop"), Via::Resource(&other)).await.unwrap().response;
    assert!(
        String::from_utf8_lossy(other.body()).contains("MtlsCnfClaimRequestDataValidationFailed"),
        "{other:?}"
    );
}

#[tokio::test]
async fn a_host_that_does_not_ask_for_the_certificate_never_sees_the_token() {
    let pair = Pair::new();
    let graph = pair.leg2().resource(&ResourceScope::graph(Cloud::Public));
    graph.token().await.unwrap();
    pair.emulator().clear_journal();
    let error = graph.call(get("https://graph.microsoft.com/v1.0/applications")).await.unwrap_err();
    let host = "graph.microsoft.com".to_owned();
    assert_eq!(
        error,
        Error::Transport { leg: None, cause: TransportError::CertificateNotRequested { host } }
    );
    assert!(error.fix().contains("mtlstb.graph.microsoft.com"), "{}", error.fix());
    assert!(pair.emulator().journal().is_empty());
}

#[tokio::test]
async fn requests_that_no_token_may_go_with_are_refused() {
    let pair = Pair::new();
    let resource: Resource = pair.leg2().resource(&vault());
    let mut with_header = get(SECRET_URL);
    with_header.headers_mut().insert("authorization", "Bearer x".parse().unwrap());
    let cases = [
        get("http://demo.vault.azure.net/"),
        get("/secrets/demo"),
        get("https://user@demo.vault.azure.net/"),
        with_header,
    ];
    for request in cases {
        let error = resource.call(request).await.unwrap_err();
        assert_eq!(error.code(), "invalid_resource_request", "{error}");
    }
    assert!(pair.emulator().journal().is_empty(), "not even a token was fetched");
}

#[test]
fn the_vault_profile_goes_with_vault_hosts_only() {
    let has_header = |host| !ResourceProfile::for_host(host).headers().is_empty();
    assert!(
        has_header("demo.vault.azure.net")
            && has_header("X.VAULT.AZURE.CN")
            && has_header("a.vault.usgovcloudapi.net")
    );
    assert!(!has_header("vault.azure.net.evil.example") && !has_header("mtlstb.graph.microsoft.com"));
    assert_eq!(builtin::VAULT_HOST, "demo.vault.azure.net");
}
