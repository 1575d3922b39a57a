//! BIND: the certificate of a token, and a resource that enforces it.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use certbound::transport::Via;
use certbound::{BoundToken, Transport as _};
use certbound_emulator::JournalEntry;
use certbound_emulator::world::builtin::ORDERS_HOST;
use http::Request;
use http::header::AUTHORIZATION;

use super::evidence::Evidence;
use super::pki;
use super::rows::{Row, shown};
use super::stage::{
    MTLS_HOST, Stage, confirmation, graph, is_bound_by_certificate, network, only, orders, output,
};

pub(super) const ROWS: &[Row] = &[
    shown!(
        "BIND-01",
        0,
        "The token comes with its certificate and the key, which are enough for the handshake.",
        a_token_has_certificate_and_key
    ),
    shown!(
        "BIND-02",
        0,
        "The thumbprint of the token's certificate is the SHA-256 of the whole DER of the leaf, in base64url.",
        the_thumbprint_is_the_sha_256_of_the_leaf
    ),
    shown!(
        "BIND-03",
        0,
        "The `cnf` of the token has this thumbprint as `x5t#S256`.",
        the_token_names_its_certificate
    ),
    shown!(
        "BIND-04",
        0,
        "A resource accepts the token under the scheme `mtls_pop`: status 200.",
        a_resource_accepts_the_token_under_its_scheme
    ),
    shown!(
        "BIND-05",
        0,
        "A resource refuses the same token under the scheme `Bearer`.",
        a_resource_refuses_the_token_under_bearer
    ),
    shown!(
        "BIND-06",
        0,
        "A resource refuses the same token on a connection without a certificate.",
        a_resource_refuses_the_token_without_a_certificate
    ),
    shown!(
        "BIND-07",
        0,
        "A resource refuses the same token on a connection with a different certificate.",
        a_resource_refuses_the_token_with_another_certificate
    ),
    shown!(
        "BIND-08",
        0,
        "The token can be used for a call as it is: it has everything that the call needs.",
        a_token_is_enough_for_a_call
    ),
];

fn request(authorization: &str) -> Request<Bytes> {
    let request = Request::get(format!("https://{ORDERS_HOST}/orders")).header(AUTHORIZATION, authorization);
    request.body(Bytes::new()).unwrap()
}

/// Sends the token to the resource on a new connection, and returns the status.
async fn sent(stage: &Stage, token: &BoundToken, scheme: &str, via: Via<'_>) -> u16 {
    let transport = network(&stage.server.proxy_url(), stage.emulator.ca_pem()).transport();
    let answer = transport.send(request(&format!("{scheme} {}", token.secret().expose())), via).await;
    answer.unwrap().response.status().as_u16()
}

/// Checks one call of the resource.
fn is_call(entry: &JournalEntry, status: u16, scheme: &str, certificate: Option<&pki::Named>) {
    assert_eq!((entry.host.as_str(), entry.status), (ORDERS_HOST, status), "{entry:#?}");
    assert_eq!(entry.authorization_scheme.as_deref(), Some(scheme), "{entry:#?}");
    assert_eq!(entry.client_certificate, certificate.map(|it| it.thumbprint().x5t_s256()), "{entry:#?}");
}

#[tokio::test]
async fn a_token_has_certificate_and_key() -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bound_token(&orders()).await.unwrap();
    assert_eq!(token.binding().chain().leaf_der(), pki::c().identity.leaf_der());
    let status = sent(&stage, &token, BoundToken::SCHEME, Via::Resource(token.binding())).await;
    assert_eq!(status, 200);
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_call(&journal[1], 200, "mtls_pop", Some(pki::c()));
    Evidence::of(journal)
}

#[tokio::test]
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

#[tokio::test]
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

#[tokio::test]
async fn a_resource_accepts_the_token_under_its_scheme() -> Evidence {
    let stage = Stage::new().await;
    let resource = stage.client(pki::c().binding()).resource(&orders());
    let url = format!("https://{ORDERS_HOST}/orders");
    let answer = resource.call(Request::get(url).body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_call(&journal[1], 200, "mtls_pop", Some(pki::c()));
    Evidence::of(journal)
}

/// Sends a token in the right way and in a wrong way, so that only the difference can be the cause of the refusal.
async fn refused(scheme: &str, certificate: Option<&pki::Named>) -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bound_token(&orders()).await.unwrap();
    let status = sent(&stage, &token, BoundToken::SCHEME, Via::Resource(token.binding())).await;
    assert_eq!(status, 200);
    let binding = certificate.map(pki::Named::binding);
    let via = binding.as_ref().map_or(Via::Tls, Via::Resource);
    assert_eq!(sent(&stage, &token, scheme, via).await, 401);
    let journal = stage.journal();
    assert_eq!(journal.len(), 3);
    is_call(&journal[1], 200, "mtls_pop", Some(pki::c()));
    is_call(&journal[2], 401, scheme, certificate);
    assert!(journal[1].authorization_token.is_some());
    assert_eq!(journal[1].authorization_token, journal[2].authorization_token);
    Evidence::of(journal).fact("tokens of both calls", "equal, by the SHA-256 that the server recorded")
}

#[tokio::test]
async fn a_resource_refuses_the_token_under_bearer() -> Evidence {
    refused("Bearer", Some(pki::c())).await
}

#[tokio::test]
async fn a_resource_refuses_the_token_without_a_certificate() -> Evidence {
    refused("mtls_pop", None).await
}

#[tokio::test]
async fn a_resource_refuses_the_token_with_another_certificate() -> Evidence {
    refused("mtls_pop", Some(pki::d())).await
}

#[tokio::test]
async fn a_token_is_enough_for_a_call() -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bound_token(&orders()).await.unwrap();
    // The client is gone, and the connection is new.
    let resource = token.resource_on(&network(&stage.server.proxy_url(), stage.emulator.ca_pem()));
    let url = format!("https://{ORDERS_HOST}/orders");
    let answer = resource.call(Request::get(url).body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    is_call(&journal[1], 200, "mtls_pop", Some(pki::c()));
    Evidence::of(journal)
}
