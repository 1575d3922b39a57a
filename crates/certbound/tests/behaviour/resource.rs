//! Tests of calls of resources. The token determines the scheme, the headers and the certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use certbound::clock::Clock as _;
use certbound::error::TransportError;
use certbound::resource::ResourceProfile;
use certbound::transport::{Answer, Via};
use certbound::{Cloud, Error, Resource, ResourceScope, Transport};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult};
use certbound_testkit::{MemoryTransport, Pair};

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

/// Acceptance check 10: a bound token is accepted by each kind of resource.
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
    let other = pair.other_certificate();
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
        Error::Transport { leg: None, cause: TransportError::CertificateNotRequested { host }, target: None }
    );
    assert!(error.fix().contains("mtlstb.graph.microsoft.com"), "{}", error.fix());
    assert!(pair.emulator().journal().is_empty());
}

#[tokio::test]
async fn requests_that_no_token_may_go_with_are_refused() {
    let pair = Pair::new();
    let resource: Resource = pair.leg2().resource(&vault());
    let with_header = |(name, value): (&'static str, &str)| {
        let mut request = get(SECRET_URL);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let headers = [
        ("authorization", "Bearer x"),
        ("host", "demo.vault.azure.net"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
    ];
    let mut tunnel = get(SECRET_URL);
    *tunnel.method_mut() = http::Method::CONNECT;
    let cases = [
        get("http://demo.vault.azure.net/"),
        get("/secrets/demo"),
        get("https://user@demo.vault.azure.net/"),
        tunnel,
    ];
    for request in cases.into_iter().chain(headers.map(with_header)) {
        let error = resource.call(request).await.unwrap_err();
        assert_eq!(error.code(), "invalid_resource_request", "{error}");
    }
    assert!(pair.emulator().journal().is_empty(), "no token was requested");
}

#[test]
fn the_vault_profile_goes_with_vault_hosts_only() {
    let has_header = |host| !ResourceProfile::for_host(host).headers().is_empty();
    assert!(
        has_header("demo.vault.azure.net")
            && has_header("X.VAULT.AZURE.CN")
            && has_header("a.vault.usgovcloudapi.net")
            && has_header("a.vault.sovcloud-api.fr")
    );
    assert!(!has_header("vault.azure.net.evil.example") && !has_header("mtlstb.graph.microsoft.com"));
    assert_eq!(builtin::VAULT_HOST, "demo.vault.azure.net");
}

/// `{"access_token":{"nbf":{"essential":true,"value":"1785000000"}}}` in base64, as continuous access evaluation sends
/// it.
const CHALLENGE: &str = "Bearer realm=\"\", error=\"insufficient_claims\", \
    claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzg1MDAwMDAwIn19fQ==\"";

/// A resource that demands new claims for the first `left` requests and then answers.
struct Challenging {
    inner: MemoryTransport,
    status: u16,
    left: Arc<AtomicUsize>,
}

impl Transport for Challenging {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let mut answer = self.inner.send(request, via).await?;
        let one_less = |left: usize| left.checked_sub(1);
        if matches!(via, Via::Resource(_))
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
        {
            *answer.response.status_mut() = http::StatusCode::from_u16(self.status).unwrap();
            answer.response.headers_mut().insert("www-authenticate", CHALLENGE.parse().unwrap());
        }
        Ok(answer)
    }
}

/// Returns the status of a call, and the `claims` of each Leg 2.
async fn challenged(status: u16, times: usize) -> (u16, Vec<Option<String>>) {
    let pair = Pair::new();
    let transport = Challenging { inner: pair.transport(), status, left: Arc::new(AtomicUsize::new(times)) };
    let leg2 =
        pair.builder(builtin::APP).with_transport(transport).with_assertions(pair.leg1()).build().unwrap();
    let answer = leg2.resource(&vault()).call(get(SECRET_URL)).await.unwrap();
    let journal = pair.emulator().journal();
    let legs_2 = journal.iter().filter(|entry| entry.parameter("client_assertion").is_some());
    (answer.status().as_u16(), legs_2.map(|entry| entry.parameter("claims").map(str::to_owned)).collect())
}

/// The resource plants its challenge under `Bearer`, where clients of Entra look for it, although the token was sent under
/// `mtls_pop`.
#[tokio::test]
async fn a_challenge_of_each_resource_is_answered_over_the_binding() {
    let own = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    for (scope, url) in
        [(vault(), SECRET_URL), (ResourceScope::graph(Cloud::Public), GRAPH_URL), (orders(), ORDERS_URL)]
    {
        for claims in [None, Some(own.to_owned())] {
            let pair = Pair::new();
            let leg2 = pair.leg2();
            let challenge = FaultResult::ClaimsChallenge { claims: claims.clone() };
            pair.emulator().add_fault(Fault::once(Condition::any(), challenge));
            let answer = leg2.resource(&scope).call(get(url)).await.unwrap();
            assert_eq!(answer.status(), 200, "{url}");
            let journal = pair.emulator().journal();
            let legs_2: Vec<_> = journal
                .iter()
                .filter(|entry| entry.parameter("client_assertion").is_some())
                .map(|entry| entry.parameter("claims").map(str::to_owned))
                .collect();
            let now = pair.clock().now().as_secs();
            let default = format!(r#"{{"access_token":{{"nbf":{{"essential":true,"value":"{now}"}}}}}}"#);
            assert_eq!(legs_2, [None, Some(claims.unwrap_or(default))], "{url}");
            let calls = journal.iter().filter(|entry| url.contains(&entry.host));
            let calls: Vec<_> =
                calls.map(|entry| (entry.status, entry.client_certificate.is_some())).collect();
            assert_eq!(calls, [(401, true), (200, true)], "{url}");
        }
    }
}

#[tokio::test]
async fn a_claims_challenge_is_answered_once_with_a_new_token() {
    let claims = Some(r#"{"access_token":{"nbf":{"essential":true,"value":"1785000000"}}}"#.to_owned());
    assert_eq!(challenged(401, 1).await, (200, vec![None, claims.clone()]));
    assert_eq!(challenged(401, 2).await, (401, vec![None, claims]), "the call is repeated only once");
    assert_eq!(challenged(403, 1).await, (403, vec![None]), "only status 401 can be a challenge");
}
