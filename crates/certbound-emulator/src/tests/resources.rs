use serde_json::json;

use super::*;
use crate::world::builtin::{GRAPH, GRAPH_BOUND_HOST, GRAPH_HOST, ORDERS, ORDERS_HOST, VAULT_HOST};

struct Call<'a> {
    tls: TlsFacts,
    now: UnixTime,
    path: &'a str,
    headers: Vec<(&'a str, String)>,
}

impl Call<'_> {
    fn send(&self, emulator: &Emulator) -> Response<Bytes> {
        let mut request = Request::get(self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        emulator.handle(self.now, &self.tls, request.body(Bytes::new()).unwrap())
    }
}

fn call<'a>(emulator: &Emulator, host: &str, path: &'a str, authorization: String) -> Call<'a> {
    let headers = vec![("authorization", authorization), ("x-ms-tokenboundauth", "true".to_owned())];
    Call { tls: with(host, emulator.client_identity()), now: NOW, path, headers }
}

fn token(emulator: &Emulator, resource: &str, bound: bool) -> String {
    let ask = if bound { Ask::leg1(emulator) } else { Ask::plain(emulator) };
    Ask { scope: &format!("{resource}/.default"), ..ask }.token(emulator)
}

#[test]
fn graph_refuses_in_its_three_ways_and_answers_the_fourth() {
    let emulator = emulator();
    let bound = token(&emulator, GRAPH, true);
    let path = "/v1.0/applications?$top=1";
    let graph = |authorization: String| call(&emulator, GRAPH_BOUND_HOST, path, authorization);
    let message = |response: &Response<Bytes>| {
        let body = json_of(response);
        (
            response.status().as_u16(),
            body["error"]["code"].as_str().unwrap_or("-").to_owned(),
            body["error"]["message"].as_str().unwrap_or("-").to_owned(),
        )
    };
    let right = graph(format!("mtls_pop {bound}")).send(&emulator);
    assert_eq!(right.status(), 200);
    assert_eq!(json_of(&right)["value"][0]["appId"], APP);

    let mut no_certificate = graph(format!("mtls_pop {bound}"));
    no_certificate.tls.client_chain = None;
    let mut other = graph(format!("mtls_pop {bound}"));
    other.tls = with(GRAPH_BOUND_HOST, &p256(&emulator, "certbound-demo-app"));
    let mut other_under_bearer = graph(format!("Bearer {bound}"));
    other_under_bearer.tls.client_chain = None;
    let mut never_asking = graph(format!("mtls_pop {bound}"));
    never_asking.tls = TlsFacts::without_certificate(GRAPH_HOST);
    for (call, marker) in [
        (no_certificate, "MtlsMissingClientCertificate"),
        (never_asking, "MtlsMissingClientCertificate"),
        (graph(format!("Bearer {bound}")), "Cnf claim not supported over Bearer protocol."),
        (other_under_bearer, "Cnf claim not supported over Bearer protocol."),
        (other, "MtlsCnfClaimRequestDataValidationFailed"),
    ] {
        let (status, code, message) = message(&call.send(&emulator));
        assert_eq!((status, code.as_str()), (401, "InvalidAuthenticationToken"));
        assert!(message.starts_with(marker), "{message}");
    }
    let plain = token(&emulator, GRAPH, false);
    assert_eq!(graph(format!("Bearer {plain}")).send(&emulator).status(), 200);
    assert_eq!(graph(format!("mtls_pop {plain}")).send(&emulator).status(), 401);
}

#[test]
fn a_vault_wants_its_header_its_scheme_and_the_certificate() {
    let emulator = emulator();
    let bound = token(&emulator, "https://vault.azure.net", true);
    let path = "/secrets/demo?api-version=7.4";
    let vault = |authorization: String| call(&emulator, VAULT_HOST, path, authorization);
    let right = vault(format!("mtls_pop {bound}")).send(&emulator);
    assert_eq!(
        (right.status().as_u16(), json_of(&right)["value"].clone()),
        (200, json!("a secret that is none"))
    );

    let mut no_header = vault(format!("mtls_pop {bound}"));
    no_header.headers.truncate(1);
    let mut wrong_header = vault(format!("mtls_pop {bound}"));
    wrong_header.headers[1].1 = "True".to_owned();
    let mut no_certificate = vault(format!("mtls_pop {bound}"));
    no_certificate.tls.client_chain = None;
    let mut other = vault(format!("mtls_pop {bound}"));
    other.tls = with(VAULT_HOST, &unused_rsa());
    let mut probe = vault(String::new());
    probe.headers.clear();
    for (call, marker) in [
        (probe, "AKV10000"),
        (no_header, "A client certificate is required for the MTLS_POP token"),
        (wrong_header, "A client certificate is required for the MTLS_POP token"),
        (no_certificate, "MissingClientCertificate"),
        (vault(format!("Bearer {bound}")), "S2S17001"),
        (other, "[MtlsCnfClaimRequestDataValidationFailed] Could not validate token."),
    ] {
        let response = call.send(&emulator);
        let message = json_of(&response)["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(response.status(), 401);
        assert!(message.starts_with(marker), "{message}");
        let challenge = response.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.ends_with("resource=\"https://vault.azure.net\""), "{challenge}");
    }
    let absent = call(&emulator, VAULT_HOST, "/secrets/absent", format!("mtls_pop {bound}"));
    assert_eq!(json_of(&absent.send(&emulator))["error"]["code"], "SecretNotFound");
}

#[test]
fn the_custom_api_answers_as_rfc_6750_says() {
    let emulator = emulator();
    let bound = token(&emulator, ORDERS, true);
    let orders = |authorization: String| call(&emulator, ORDERS_HOST, "/orders", authorization);
    let body = json_of(&orders(format!("mtls_pop {bound}")).send(&emulator));
    assert_eq!(body["caller"], APP);
    assert_eq!(body["orders"]["1002"], "a desk");

    let mut no_certificate = orders(format!("mtls_pop {bound}"));
    no_certificate.tls.client_chain = None;
    let mut nothing = orders(String::new());
    nothing.headers.clear();
    let mut twice = orders(format!("mtls_pop {bound}"));
    twice.headers.push(("authorization", format!("mtls_pop {bound}")));
    let plain = token(&emulator, ORDERS, false);
    let late = Call { now: later(3_660), ..orders(format!("mtls_pop {bound}")) };
    let still = Call { now: later(3_659), ..orders(format!("mtls_pop {bound}")) };
    assert_eq!(still.send(&emulator).status(), 200, "within the leeway");
    let invalid = "mtls_pop error=\"invalid_token\"";
    for (name, call, status, challenge) in [
        ("nothing", nothing, 401, "mtls_pop"),
        ("no certificate", no_certificate, 401, invalid),
        ("Bearer", orders(format!("Bearer {bound}")), 401, invalid),
        ("a plain token", orders(format!("Bearer {plain}")), 401, invalid),
        ("a plain token as bound", orders(format!("mtls_pop {plain}")), 401, invalid),
        ("expired", late, 401, invalid),
        ("for another resource", orders(format!("mtls_pop {}", token(&emulator, GRAPH, true))), 401, invalid),
        ("an assertion", orders(format!("mtls_pop {}", Ask::leg1(&emulator).token(&emulator))), 401, invalid),
        ("twice", twice, 400, "mtls_pop error=\"invalid_request\""),
        ("two spaces", orders(format!("mtls_pop  {bound}")), 400, "mtls_pop error=\"invalid_request\""),
        ("another scheme", orders(format!("PoP {bound}")), 401, "mtls_pop"),
        ("no JWT", orders("mtls_pop x".to_owned()), 401, invalid),
    ] {
        let response = call.send(&emulator);
        assert_eq!(response.status(), status, "{name}");
        let found = response.headers()["www-authenticate"].to_str().unwrap();
        assert!(found.starts_with(challenge), "{name}: {found}");
    }
}

#[test]
fn only_the_leaf_of_this_connection_counts() {
    let emulator = emulator();
    let bound = token(&emulator, ORDERS, true);
    let identity = emulator.client_identity();
    let mut call = call(&emulator, ORDERS_HOST, "/orders", format!("mtls_pop {bound}"));
    let other = p256(&emulator, "certbound-demo-app");
    call.tls.client_chain = Some(vec![other.leaf_der().to_vec(), identity.leaf_der().to_vec()]);
    assert_eq!(call.send(&emulator).status(), 401);
    call.tls.client_chain = Some(vec![identity.leaf_der().to_vec(), other.leaf_der().to_vec()]);
    assert_eq!(call.send(&emulator).status(), 200);
}

#[test]
fn a_token_does_not_outlive_its_certificate_at_the_resource() {
    let emulator = emulator();
    let options = IssueOptions::new("certbound-demo-app").valid(NOW, later(600));
    let brief = emulator.issue_client_certificate(&options).unwrap();
    let scope = format!("{ORDERS}/.default");
    let bound = Ask { tls: with(MTLS, &brief), scope: &scope, ..Ask::leg1(&emulator) }.token(&emulator);
    let mut call = call(&emulator, ORDERS_HOST, "/orders", format!("mtls_pop {bound}"));
    call.tls = with(ORDERS_HOST, &brief);
    assert_eq!(call.send(&emulator).status(), 200);
    assert_eq!(Call { now: later(601), ..call }.send(&emulator).status(), 401);
}

#[test]
fn a_token_is_refused_before_its_time() {
    let emulator = emulator();
    let bound = token(&emulator, ORDERS, true);
    let mut call = call(&emulator, ORDERS_HOST, "/orders", format!("mtls_pop {bound}"));
    let status = |call: &Call<'_>| call.send(&emulator).status().as_u16();
    // `nbf` is five minutes in the past, and the resource's clock may be slow by one more minute.
    for (early, expected) in [(0, 200), (360, 200), (361, 401)] {
        call.now = NOW.minus(Duration::from_secs(early));
        assert_eq!(status(&call), expected, "{early} seconds early");
    }
}

#[test]
fn an_application_without_a_role_is_forbidden_not_unauthorised() {
    let emulator = emulator_with(|world| world.application_mut(APP).unwrap().roles.clear());
    for (resource, host, path) in [
        (ORDERS, ORDERS_HOST, "/orders"),
        (GRAPH, GRAPH_BOUND_HOST, "/v1.0/applications"),
        ("https://vault.azure.net", VAULT_HOST, "/secrets/demo"),
    ] {
        let bound = token(&emulator, resource, true);
        assert_eq!(
            call(&emulator, host, path, format!("mtls_pop {bound}")).send(&emulator).status(),
            403,
            "{host}"
        );
    }
}
