//! Both legs and the resource call by curl, and each kind of refusal.

use super::curl::{Answer, Curl};
use super::openssl;
use crate::support::{APP, Emulator, TENANT, VAULT};

const SECRET: &str = "https://demo.vault.azure.net/secrets/demo?api-version=7.4";
const ORDERS: &str = "https://orders.contoso.example/orders";
const ASK_FOR_CERTIFICATE: &str = "x-ms-tokenboundauth: true";

fn token_endpoint() -> String {
    format!("https://westus3.mtlsauth.microsoft.com/{TENANT}/oauth2/v2.0/token")
}

fn leg1(curl: &Curl<'_>) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", APP),
        ("scope", "api://AzureADTokenExchange/.default"),
        ("token_type", "mtls_pop"),
    ];
    curl.post(&token_endpoint(), &form)
}

fn leg2(curl: &Curl<'_>, assertion: &str, scope: &str) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", APP),
        ("scope", scope),
        ("token_type", "mtls_pop"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-pop"),
        ("client_assertion", assertion),
    ];
    curl.post(&token_endpoint(), &form)
}

fn authorization(scheme: &str, token: &str) -> String {
    format!("Authorization: {scheme} {token}")
}

#[test]
fn curl_performs_both_legs_and_the_call() {
    let emulator = Emulator::start();
    let curl = Curl::with_certificate(&emulator, emulator.certificate());
    let assertion = leg1(&curl);
    assert_eq!((assertion.status, assertion.body["token_type"].as_str()), (200, Some("mtls_pop")));
    assert_eq!(assertion.body["expires_in"], 3599);

    let token = leg2(&curl, assertion.token(), VAULT);
    assert_eq!((token.status, token.body["token_type"].as_str()), (200, Some("mtls_pop")));
    let bound = authorization("mtls_pop", token.token());
    let secret = curl.get(SECRET, &[&bound, ASK_FOR_CERTIFICATE]);
    assert_eq!((secret.status, secret.body["value"].as_str()), (200, Some("a secret that is none")));

    // A custom resource whose identifier URI differs from its host name.
    let orders = leg2(&curl, assertion.token(), "api://orders/.default");
    let orders = curl.get(ORDERS, &[&authorization("mtls_pop", orders.token())]);
    assert_eq!((orders.status, orders.body["orders"]["1001"].as_str()), (200, Some("two lamps")));
}

#[test]
fn curl_calls_a_bound_resource_several_times_on_one_http2_connection() {
    let emulator = Emulator::start();
    let curl = Curl::with_certificate(&emulator, emulator.certificate());
    let token = leg2(&curl, leg1(&curl).token(), "api://orders/.default");
    let bound = authorization("mtls_pop", token.token());
    let unknown = "https://orders.contoso.example/orders/none";
    emulator.journal();
    let calls = curl.get_at_once("--http2", &[ORDERS, ORDERS, unknown, ORDERS], &bound);
    let mut statuses: Vec<_> = calls.iter().map(|(status, ..)| *status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 404]);
    assert!(calls.iter().all(|(_, version, _)| version == "2"), "{calls:?}");
    assert_eq!(calls.iter().map(|(.., connections)| connections).sum::<usize>(), 1, "{calls:?}");
    let journal = emulator.journal();
    assert_eq!(journal.len(), 4);
    let first = &journal[0]["client_certificate"];
    assert!(first.is_string() && journal.iter().all(|entry| entry["client_certificate"] == *first));

    // The verifier refuses the same token in each request of a connection with another certificate.
    let directory = tempfile::tempdir().unwrap();
    let other = Curl::with_certificate(&emulator, openssl::certificate(&directory, "other", "CN=other"));
    let calls = other.get_at_once("--http2", &[ORDERS; 3], &bound);
    assert!(
        calls.len() == 3 && calls.iter().all(|(status, version, _)| *status == 401 && version == "2"),
        "{calls:?}"
    );
    let calls = curl.get_at_once("--http1.1", &[ORDERS; 3], &bound);
    assert!(
        calls.len() == 3 && calls.iter().all(|(status, version, _)| *status == 200 && version == "1.1"),
        "{calls:?}"
    );
}

#[test]
fn each_leg_refuses_for_its_own_reason() {
    let emulator = Emulator::start();
    let directory = tempfile::tempdir().unwrap();
    let ours = Curl::with_certificate(&emulator, emulator.certificate());
    let none = Curl::without_certificate(&emulator);
    let stranger =
        Curl::with_certificate(&emulator, openssl::certificate(&directory, "stranger", "CN=stranger"));
    // A certificate with the right name and an unknown issuer.
    let impostor = Curl::with_certificate(
        &emulator,
        openssl::certificate(&directory, "impostor", "CN=certbound-demo-app"),
    );

    assert_eq!(leg1(&none).refusal(), (400, 392_200, "invalid_request"));
    assert_eq!(leg1(&stranger).refusal(), (401, 700_030, "invalid_client"));
    assert_eq!(leg1(&impostor).refusal(), (401, 700_027, "invalid_client"));

    let assertion = leg1(&ours);
    let assertion = assertion.token();
    assert_eq!(leg2(&none, assertion, VAULT).refusal(), (400, 392_200, "invalid_request"));
    for other in [&stranger, &impostor] {
        assert_eq!(leg2(other, assertion, VAULT).refusal(), (400, 500_181, "invalid_request"));
    }
    let unsupported = leg2(&ours, assertion, "https://management.azure.com/.default");
    assert_eq!(unsupported.refusal().1, 392_196);
    let chained = leg2(&ours, leg2(&ours, assertion, "api://AzureADTokenExchange/.default").token(), VAULT);
    assert_eq!(chained.refusal().1, 700_231);
    assert_eq!(leg2(&ours, "not.a.token", VAULT).refusal().1, 50_027);
}

#[test]
fn the_vault_refuses_for_its_own_reason() {
    let emulator = Emulator::start();
    let directory = tempfile::tempdir().unwrap();
    let ours = Curl::with_certificate(&emulator, emulator.certificate());
    let none = Curl::without_certificate(&emulator);
    let other = Curl::with_certificate(&emulator, openssl::certificate(&directory, "other", "CN=other"));
    let token = leg2(&ours, leg1(&ours).token(), VAULT);
    let (bound, as_bearer) =
        (authorization("mtls_pop", token.token()), authorization("Bearer", token.token()));

    let reason = |curl: &Curl<'_>, headers: &[&str]| {
        let answer = curl.get(SECRET, headers);
        assert_eq!(answer.status, 401);
        assert!(!answer.challenge.is_empty(), "a 401 has a challenge");
        answer.body["error"]["message"].as_str().unwrap().to_owned()
    };
    let reasons = [
        (reason(&ours, &[]), "AKV10000: "),
        (reason(&ours, &[&bound]), "A client certificate is required for the MTLS_POP token"),
        (reason(&none, &[&bound, ASK_FOR_CERTIFICATE]), "MissingClientCertificate: "),
        (
            reason(&other, &[&bound, ASK_FOR_CERTIFICATE]),
            "[MtlsCnfClaimRequestDataValidationFailed] Could not validate token.",
        ),
        (reason(&ours, &[&as_bearer, ASK_FOR_CERTIFICATE]), "S2S17001: "),
    ];
    for (told, expected) in reasons {
        assert!(told.starts_with(expected), "{expected}: {told}");
    }
}

#[test]
fn the_custom_api_refuses_for_its_own_reason() {
    let emulator = Emulator::start();
    let directory = tempfile::tempdir().unwrap();
    let ours = Curl::with_certificate(&emulator, emulator.certificate());
    let none = Curl::without_certificate(&emulator);
    let other = Curl::with_certificate(&emulator, openssl::certificate(&directory, "other", "CN=other"));
    let token = leg2(&ours, leg1(&ours).token(), "api://orders/.default");
    let bound = authorization("mtls_pop", token.token());
    let as_bearer = authorization("Bearer", token.token());
    for (curl, header, reason) in [
        (&none, &bound, "the connection has no client certificate"),
        (&other, &bound, "the token is bound to a different certificate"),
        (&ours, &as_bearer, "a certificate-bound token was sent under Bearer"),
    ] {
        let answer = curl.get(ORDERS, &[header]);
        let challenge = format!("mtls_pop error=\"invalid_token\", error_description=\"{reason}\"");
        assert_eq!((answer.status, answer.challenge), (401, challenge));
    }
}
