//! BIND: the certificate of a token, and a resource that enforces it.

use std::collections::BTreeSet;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use certbound::transport::Via;
use certbound::{BoundToken, Secret, Transport as _};
use certbound_emulator::JournalEntry;
use certbound_emulator::world::builtin::{GRAPH_BOUND_HOST, GRAPH_HOST, ORDERS_HOST};
use http::header::AUTHORIZATION;
use http::{Request, Response};

use super::evidence::Evidence;
use super::pki;
use super::rows::rows;
use super::stage::{
    MTLS_HOST, Stage, confirmation, graph, is_bound_by_certificate, network, only, order, orders, output,
};

rows! {
    (
        "BIND-01",
        0,
        "The token comes with its certificate and the key, which are enough for the handshake.",
        a_token_has_certificate_and_key
    ),
    (
        "BIND-02",
        0,
        "The thumbprint of the token's certificate is the SHA-256 of the whole DER of the leaf, in base64url.",
        the_thumbprint_is_the_sha_256_of_the_leaf
    ),
    (
        "BIND-03",
        0,
        "The `cnf` of the token has this thumbprint as `x5t#S256`.",
        the_token_names_its_certificate
    ),
    (
        "BIND-04",
        0,
        "A resource answers 200 to a call with the token under the scheme `mtls_pop`.",
        a_resource_accepts_the_token_under_its_scheme
    ),
    (
        "BIND-05",
        0,
        "Microsoft Graph accepts bound tokens and Bearer tokens. It refuses a bound token under the scheme `Bearer`, even \
         on a connection with the certificate of the token. At its ordinary host it accepts a Bearer token.",
        a_resource_refuses_the_token_under_bearer
    ),
    (
        "BIND-06",
        0,
        "A resource refuses a bound token on a connection without a certificate.",
        a_resource_refuses_the_token_without_a_certificate
    ),
    (
        "BIND-07",
        0,
        "A resource refuses a bound token on a connection with a different certificate.",
        a_resource_refuses_the_token_with_another_certificate
    ),
    (
        "BIND-08",
        0,
        "A program calls a resource with the token alone, on a new connection.",
        a_token_is_enough_for_a_call
    ),
}

fn orders_url() -> String {
    format!("https://{ORDERS_HOST}/orders")
}

/// Sends a token to a resource on a new connection, and returns the answer.
async fn sent(stage: &Stage, url: &str, token: &Secret, scheme: &str, via: Via<'_>) -> Response<Bytes> {
    let transport = network(&stage.server.proxy_url(), stage.emulator.ca_pem()).transport();
    let request = Request::get(url).header(AUTHORIZATION, format!("{scheme} {}", token.expose()));
    transport.send(request.body(Bytes::new()).unwrap(), via).await.unwrap().response
}

/// Checks one call of a resource.
fn is_call(entry: &JournalEntry, host: &str, status: u16, scheme: &str, certificate: Option<&pki::Named>) {
    assert_eq!((entry.host.as_str(), entry.status), (host, status), "{entry:#?}");
    assert_eq!(entry.authorization_scheme.as_deref(), Some(scheme), "{entry:#?}");
    assert_eq!(entry.client_certificate, certificate.map(|it| it.thumbprint().x5t_s256()), "{entry:#?}");
}

#[tokio::main(flavor = "current_thread")]
async fn a_token_has_certificate_and_key() -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bound_token(&orders()).await.unwrap();
    assert_eq!(token.binding().chain().leaf_der(), pki::c().identity.leaf_der());
    let via = Via::Resource(token.binding());
    let answer = sent(&stage, &orders_url(), token.secret(), BoundToken::SCHEME, via).await;
    assert_eq!(answer.status(), 200);
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_call(&journal[1], ORDERS_HOST, 200, "mtls_pop", Some(pki::c()));
    Evidence::of(journal)
}

#[tokio::main(flavor = "current_thread")]
async fn the_thumbprint_is_the_sha_256_of_the_leaf() -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bound_token(&graph()).await.unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in", &stage.file("C")]);
    let text = String::from_utf8(output(openssl).await.stdout).unwrap();
    let (_, fingerprint) = text.trim().split_once('=').unwrap();
    let hex: Vec<&str> = fingerprint.split(':').collect();
    let bytes: Vec<u8> = hex.iter().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let base64url = URL_SAFE_NO_PAD.encode(bytes);
    assert_eq!(token.binding().thumbprint().x5t_s256(), base64url);
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal)
        .fact("openssl x509 -fingerprint -sha256", hex.concat().to_ascii_lowercase())
        .fact("the same in base64url", base64url)
        .fact("thumbprint of the token's certificate", token.binding().thumbprint().x5t_s256())
}

#[tokio::main(flavor = "current_thread")]
async fn the_token_names_its_certificate() -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bound_token(&graph()).await.unwrap();
    let confirmation = confirmation(&token);
    assert_eq!(token.binding().thumbprint(), pki::c().thumbprint());
    assert!(token.details().binding_observed);
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal).fact("cnf.x5t#S256 of the token", confirmation)
}

#[tokio::main(flavor = "current_thread")]
async fn a_resource_accepts_the_token_under_its_scheme() -> Evidence {
    let stage = Stage::new().await;
    let resource = stage.client(pki::c().binding()).resource(&orders());
    let answer = resource.call(order()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_call(&journal[1], ORDERS_HOST, 200, "mtls_pop", Some(pki::c()));
    Evidence::of(journal)
}

/// Returns the number of different tokens in these calls, by the SHA-256 that the server recorded.
fn different_tokens(calls: &[&JournalEntry]) -> usize {
    let tokens = calls.iter().map(|call| call.authorization_token.as_deref().expect("a call has a token"));
    tokens.collect::<BTreeSet<_>>().len()
}

const TOKENS: &str =
    "different tokens in both calls with a bound token, by the SHA-256 that the server recorded";

#[tokio::main(flavor = "current_thread")]
async fn a_resource_refuses_the_token_under_bearer() -> Evidence {
    let stage = Stage::new().await;
    let client = stage.client(pki::c().binding());
    let bound = client.bound_token(&graph()).await.unwrap();
    let bearer = client.bearer_token(&graph()).await.unwrap();
    let at = |host: &str| format!("https://{host}/v1.0/applications");
    let (bound_url, plain_url) = (at(GRAPH_BOUND_HOST), at(GRAPH_HOST));
    let via = Via::Resource(bound.binding());
    let accepted = sent(&stage, &bound_url, bound.secret(), BoundToken::SCHEME, via).await;
    let refused = sent(&stage, &bound_url, bound.secret(), "Bearer", via).await;
    let plain = sent(&stage, &plain_url, bearer.secret(), "Bearer", Via::Tls).await;
    let statuses = [&accepted, &refused, &plain].map(|answer| answer.status().as_u16());
    assert_eq!(statuses, [200, 401, 200]);
    let body: serde_json::Value = serde_json::from_slice(refused.body()).unwrap();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("Cnf claim not supported over Bearer protocol."), "{message}");
    let journal = stage.journal();
    assert_eq!(journal.len(), 5);
    is_bound_by_certificate(&journal[0], MTLS_HOST, pki::c());
    assert_eq!(journal[1].token_type.as_deref(), Some("Bearer"));
    is_call(&journal[2], GRAPH_BOUND_HOST, 200, "mtls_pop", Some(pki::c()));
    is_call(&journal[3], GRAPH_BOUND_HOST, 401, "Bearer", Some(pki::c()));
    is_call(&journal[4], GRAPH_HOST, 200, "Bearer", None);
    let tokens = different_tokens(&[&journal[2], &journal[3]]);
    assert_eq!(tokens, 1);
    Evidence::of(journal).fact("message of the refusal", message).fact(TOKENS, tokens)
}

/// Sends a token with its certificate and with a different one or none, so that only the certificate can be the cause of
/// the refusal.
async fn refused(certificate: Option<&pki::Named>) -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bound_token(&orders()).await.unwrap();
    let url = orders_url();
    let own = Via::Resource(token.binding());
    assert_eq!(sent(&stage, &url, token.secret(), BoundToken::SCHEME, own).await.status(), 200);
    let binding = certificate.map(pki::Named::binding);
    let via = binding.as_ref().map_or(Via::Tls, Via::Resource);
    assert_eq!(sent(&stage, &url, token.secret(), BoundToken::SCHEME, via).await.status(), 401);
    let journal = stage.journal();
    assert_eq!(journal.len(), 3);
    is_call(&journal[1], ORDERS_HOST, 200, "mtls_pop", Some(pki::c()));
    is_call(&journal[2], ORDERS_HOST, 401, "mtls_pop", certificate);
    let tokens = different_tokens(&[&journal[1], &journal[2]]);
    assert_eq!(tokens, 1);
    Evidence::of(journal).fact(TOKENS, tokens)
}

#[tokio::main(flavor = "current_thread")]
async fn a_resource_refuses_the_token_without_a_certificate() -> Evidence {
    refused(None).await
}

#[tokio::main(flavor = "current_thread")]
async fn a_resource_refuses_the_token_with_another_certificate() -> Evidence {
    refused(Some(pki::d())).await
}

#[tokio::main(flavor = "current_thread")]
async fn a_token_is_enough_for_a_call() -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bound_token(&orders()).await.unwrap();
    // The client is gone, and the connection is new.
    let resource = token.resource_on(&network(&stage.server.proxy_url(), stage.emulator.ca_pem()));
    let answer = resource.call(order()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_call(&journal[1], ORDERS_HOST, 200, "mtls_pop", Some(pki::c()));
    Evidence::of(journal)
}
