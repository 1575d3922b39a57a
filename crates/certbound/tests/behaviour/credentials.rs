//! Credentials other than certificates, and the signed assertion of a certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound::credential::{AssertionFile, NoCredential, unbound_fn};
use certbound::{
    Authority, BindingCertificate, Client, ClientBuilder, Cloud, ResourceScope, Secret, TenantId, UnixTime,
};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, ManualClock, Pair, Seen};
use serde_json::Value;

fn vault() -> ResourceScope {
    ResourceScope::key_vault(Cloud::Public)
}

fn builder_at(authority: Authority, transport: &AnsweringTransport) -> ClientBuilder<NoCredential> {
    Client::builder(authority, builtin::APP)
        .with_transport(transport.clone())
        .with_clock(ManualClock::at(UnixTime::from_secs(1_785_000_000)))
        .without_authority_validation()
}

fn builder(transport: &AnsweringTransport) -> ClientBuilder<NoCredential> {
    builder_at(Authority::public(TenantId::parse("contoso.com").unwrap()), transport)
}

#[tokio::test]
async fn a_file_is_read_at_each_use_and_not_for_a_cached_token() {
    let transport = AnsweringTransport::with_tokens();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let client = builder(&transport).with_unbound_assertions(AssertionFile::new(&file)).build().unwrap();
    let scope = vault();
    let error = client.bearer_token(&scope).await.unwrap_err();
    assert_eq!(error.code(), "assertion_provider_failed");
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    std::fs::write(&file, "one.two.three\r\n").unwrap();
    client.bearer_token(&scope).await.unwrap();
    assert_eq!(transport.only().parameter("client_assertion"), "one.two.three");
    std::fs::remove_file(&file).unwrap();
    client.bearer_token(&scope).await.unwrap();
    assert!(transport.seen().is_empty());
    std::fs::write(&file, "four.five.six").unwrap();
    client.bearer_token(&scope).force_refresh().await.unwrap();
    assert_eq!(transport.only().parameter("client_assertion"), "four.five.six");
    for (text, code) in [
        (Vec::new(), "invalid_client_assertion"),
        (b" \n\t".to_vec(), "invalid_client_assertion"),
        (vec![b'x'; 64 * 1024 + 1], "assertion_provider_failed"),
        (vec![0xff, 0xfe], "assertion_provider_failed"),
    ] {
        std::fs::write(&file, &text).unwrap();
        assert_eq!(client.bearer_token(&scope).force_refresh().await.unwrap_err().code(), code);
    }
    assert!(transport.seen().is_empty());
}

#[tokio::test]
async fn a_function_is_called_once_for_a_request_and_told_what_it_is_for() {
    let transport = AnsweringTransport::with_tokens();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let provider = unbound_fn(move |request: &certbound::credential::AssertionRequest| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        assert_eq!(request.token_endpoint, "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token");
        assert_eq!(request.fmi_path.as_deref(), Some("a/b"));
        async move { if n == 0 { Err("the issuer is away") } else { Ok(Secret::new(" J.J.J ")) } }
    });
    let client = builder(&transport).with_unbound_assertions(provider).build().unwrap();
    let scope = vault();
    let acquire = || client.bearer_token(&scope).assertion_fmi_path("a/b");
    let error = acquire().await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().contains("the issuer is away")),
        ("assertion_provider_failed", true)
    );
    acquire().await.unwrap();
    acquire().await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(transport.only().parameter("client_assertion"), "J.J.J");
}

fn signed(seen: &Seen) -> (Value, Value) {
    let parts: Vec<Value> = seen
        .parameter("client_assertion")
        .split('.')
        .take(2)
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    (parts[0].clone(), parts[1].clone())
}

fn rsa() -> BindingCertificate {
    Pair::new().certificate()
}

#[tokio::test]
async fn the_signed_assertion_is_what_each_kind_of_authority_reads() {
    let scope = vault();
    for (authority, algorithm, thumbprint) in [
        ("https://login.microsoftonline.com/contoso.com", "PS256", "x5t#S256"),
        ("https://contoso.ciamlogin.com", "PS256", "x5t#S256"),
        ("https://contoso.b2clogin.com/tfp/contoso.example/b2c_1_x", "PS256", "x5t#S256"),
        ("https://host.example/dstsv2/contoso.example", "RS256", "x5t"),
        ("https://fs.contoso.com/adfs", "RS256", "x5t"),
    ] {
        let transport = AnsweringTransport::with_tokens();
        let client = builder_at(Authority::parse(authority).unwrap(), &transport)
            .with_certificate(rsa())
            .build()
            .unwrap();
        client.bearer_token(&scope).await.unwrap();
        let seen = transport.only();
        let (header, claims) = signed(&seen);
        assert_eq!(header["alg"], algorithm, "{authority}");
        let names: Vec<&String> = header.as_object().unwrap().keys().collect();
        assert_eq!(names, ["alg", "typ", thumbprint, "x5c"], "{authority}");
        assert_eq!(claims["aud"], seen.url.as_str());
        assert_eq!((&claims["nbf"], &claims["exp"]), (&"1785000000".into(), &"1785000600".into()));
    }
}

#[tokio::test]
async fn claims_of_ones_own_stand_behind_the_librarys() {
    let transport = AnsweringTransport::with_tokens();
    let client = builder(&transport).with_certificate(rsa()).without_x5c().build().unwrap();
    let scope = vault();
    client.bearer_token(&scope).assertion_claims(r#"{"xms_x":{"y":[1]},"z":"2"}"#).await.unwrap();
    let (header, claims) = signed(&transport.only());
    assert!(header.get("x5c").is_none());
    let names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    assert_eq!(names, ["aud", "iss", "sub", "nbf", "exp", "jti", "xms_x", "z"]);
    assert_eq!(claims["xms_x"]["y"][0], 1);
    let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(60_000));
    let error = client.bearer_token(&scope).assertion_claims(long).await.unwrap_err();
    assert_eq!(error.code(), "encoded_token_too_long");
    // A request for a bound token has no signed assertion.
    let error = client.bound_token(&scope).assertion_claims("{}").await.unwrap_err();
    assert_eq!(error.code(), "assertion_claims_not_supported");
    assert!(transport.seen().is_empty());
}

#[tokio::test]
async fn two_requests_never_send_the_same_assertion() {
    let transport = AnsweringTransport::with_tokens();
    let client = builder(&transport).with_certificate(rsa()).build().unwrap();
    let scope = vault();
    client.bearer_token(&scope).await.unwrap();
    let first = signed(&transport.only()).1["jti"].clone();
    client.bearer_token(&scope).force_refresh().await.unwrap();
    assert_ne!(signed(&transport.only()).1["jti"], first);
}
