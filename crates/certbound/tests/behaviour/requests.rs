//! The optional parts of a request, and their effect on the cache.

use std::sync::{Arc, Mutex};

use certbound::credential::BySecret;
use certbound::observe::ObservedRequest;
use certbound::{Authority, Client, Cloud, ResourceScope, Secret, TenantId};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, Pair};

fn vault() -> ResourceScope {
    ResourceScope::key_vault(Cloud::Public)
}

fn client(transport: &AnsweringTransport) -> Client<BySecret> {
    let authority = Authority::public(TenantId::parse("contoso.com").unwrap());
    let builder = Client::builder(authority, builtin::APP).with_transport(transport.clone());
    builder.with_secret(Secret::new("s")).build().unwrap()
}

#[tokio::test]
async fn each_addition_is_sent_and_has_tokens_of_its_own() {
    let transport = AnsweringTransport::with_tokens();
    let client = client(&transport);
    let scope = vault();
    client.bearer_token(&scope).await.unwrap();
    transport.only();
    macro_rules! addition {
        ($option:ident($($argument:expr),*), $parameter:literal, $sent:literal) => {
            client.bearer_token(&scope).$option($($argument),*).await.unwrap();
            assert_eq!(transport.only().parameter($parameter), $sent);
            client.bearer_token(&scope).$option($($argument),*).await.unwrap();
            assert!(transport.seen().is_empty(), "{}", $parameter);
        };
    }
    addition!(fmi_path("a/b"), "fmi_path", "a%2Fb");
    addition!(client_claims(r#"{"a":1}"#), "claims", "%7B%22a%22%3A1%7D");
    addition!(client_claims(r#"{"a": 1}"#), "claims", "%7B%22a%22%3A+1%7D");
    addition!(attributes(r#"{"x":"y"}"#), "attributes", "%7B%22x%22%3A%22y%22%7D");
    addition!(attribute_tokens(["b", " a ", "b"]), "attribute_tokens", "a+b");
    addition!(body("resource", "urn:x"), "resource", "urn%3Ax");
    addition!(assertion_fmi_path("only-for-leg-1"), "fmi_path", "");
    // The tokens are not mixed up, and blank claims are ignored.
    client.bearer_token(&scope).await.unwrap();
    client.bearer_token(&scope).client_claims("  ").await.unwrap();
    assert!(transport.seen().is_empty());
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_the_cache_is_read() {
    let transport = AnsweringTransport::with_tokens();
    let client = client(&transport);
    let scope = vault();
    client.bearer_token(&scope).await.unwrap();
    transport.only();
    async fn refused(acquire: certbound::Acquire<'_, certbound::BearerToken>) -> String {
        acquire.await.unwrap_err().code().to_owned()
    }
    for (name, value) in [
        ("client_id", "x"),
        ("client_secret", "x"),
        ("client_assertion", "x"),
        ("scope", "x"),
        ("claims", "{}"),
        ("grant_type", "password"),
        ("token_type", "mtls_pop"),
        ("req_cnf", "x"),
        ("Token_Type", "bearer"),
        ("fmi_path", "x"),
        ("assertion", "x"),
        ("", "x"),
        ("a b", "x"),
        ("é", "x"),
        ("empty", ""),
        ("blank", " \t"),
    ] {
        assert_eq!(
            refused(client.bearer_token(&scope).body(name, value)).await,
            "invalid_body_parameter",
            "{name:?}"
        );
    }
    let twice = client.bearer_token(&scope).body("a", "1").body("a", "2");
    assert_eq!(refused(twice).await, "invalid_body_parameter");
    let beside_its_option = client.bearer_token(&scope).attributes("{}").body("attributes", "2");
    assert_eq!(refused(beside_its_option).await, "invalid_body_parameter");
    for bad in ["a b", "", "\t", "a\u{a0}b"] {
        assert_eq!(
            refused(client.bearer_token(&scope).attribute_tokens([bad])).await,
            "invalid_attribute_token",
            "{bad:?}"
        );
    }
    for bad in ["", "[]", "{", r#"{"aud":"x"}"#, r#"{"jti":1}"#, r#"{"a":1,"a":2}"#] {
        assert_eq!(
            refused(client.bearer_token(&scope).assertion_claims(bad)).await,
            "invalid_assertion_claims",
            "{bad}"
        );
    }
    let merged = client.bearer_token(&scope).claims("{}").client_claims("nonsense");
    assert_eq!(refused(merged).await, "invalid_json_claims_format");
    assert!(transport.seen().is_empty());
}

#[tokio::test]
async fn what_names_the_caller_is_told_in_the_telemetry_header_only() {
    let transport = AnsweringTransport::with_tokens();
    let client = client(&transport);
    let scope = vault();
    let acquire = client
        .bearer_token(&scope)
        .query("Caller-SDK-Id", "long-name-of-a-library")
        .query("caller-sdk-ver", "1.2,|3");
    acquire.query("ManagedCert", "yes").query("dc", "ESTS-PUB").await.unwrap();
    let seen = transport.only();
    assert_eq!(seen.url, "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token?dc=ESTS-PUB");
    assert_eq!(seen.header("x-client-current-telemetry"), "5|1004,2,,,|0,1,1,long-name-,1.23,y");
}

#[tokio::test]
async fn the_telemetry_header_says_why_the_cache_was_not_enough() {
    let pair = Pair::new();
    let transport = AnsweringTransport::with_tokens();
    let builder =
        Client::builder(pair.authority().without_region(), builtin::APP).with_transport(transport.clone());
    let client = builder.with_clock(pair.clock().clone()).with_secret(Secret::new("s")).build().unwrap();
    let scope = vault();
    let reason = || transport.only().header("x-client-current-telemetry").to_owned();
    client.bearer_token(&scope).await.unwrap();
    assert_eq!(reason(), "5|1004,2,,,|0,1,1,,,");
    client.bearer_token(&scope).force_refresh().await.unwrap();
    assert_eq!(reason(), "5|1004,1,,,|0,1,1,,,");
    pair.clock().advance(std::time::Duration::from_secs(3600));
    client.bearer_token(&scope).await.unwrap();
    assert_eq!(reason(), "5|1004,3,,,|0,1,1,,,");
}

#[tokio::test]
async fn on_behalf_of_sends_the_users_token_and_keeps_users_apart() {
    let transport = AnsweringTransport::with_tokens();
    let client = client(&transport);
    let scopes = ResourceScope::for_user("https://graph.microsoft.com/User.Read").unwrap();
    let (alice, bob) = (Secret::new("alice.token.x"), Secret::new("bob.token.x"));
    let token = client.on_behalf_of(&alice, &scopes).await.unwrap();
    let seen = transport.only();
    assert_eq!(
        seen.body,
        "client_id=163ffef9-a313-45b4-ab2f-c7e2f5e0e23e&client_secret=s\
         &scope=https%3A%2F%2Fgraph.microsoft.com%2FUser.Read+offline_access+openid+profile\
         &grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=alice.token.x\
         &requested_token_use=on_behalf_of&client_info=1"
    );
    assert_eq!(seen.header("x-client-current-telemetry"), "5|1006,2,,,|0,1,1,,,");
    assert_eq!(client.on_behalf_of(&alice, &scopes).await.unwrap(), token);
    assert!(transport.seen().is_empty());
    assert_ne!(client.on_behalf_of(&bob, &scopes).await.unwrap(), token);
    assert_eq!(transport.only().parameter("assertion"), "bob.token.x");
    // The application's own token for the same scope is another token.
    let vault = vault();
    let of_alice = client.on_behalf_of(&alice, &vault).await.unwrap();
    assert_eq!(transport.only().parameter("assertion"), "alice.token.x");
    assert_ne!(client.bearer_token(&vault).await.unwrap(), of_alice);
    assert_eq!(transport.only().parameter("assertion"), "");
}

#[tokio::test]
async fn on_behalf_of_goes_over_mutual_tls_where_the_credential_does() {
    let pair = Pair::new();
    let transport = AnsweringTransport::with_tokens();
    let builder = || {
        let authority = Authority::public(TenantId::parse("contoso.com").unwrap());
        Client::builder(authority, builtin::APP)
            .with_transport(transport.clone())
            .with_clock(pair.clock().clone())
    };
    let scopes = ResourceScope::for_user("https://graph.microsoft.com/User.Read").unwrap();
    let user = Secret::new("alice.token.x");
    let plain = builder().with_certificate(pair.certificate()).build().unwrap();
    plain.on_behalf_of(&user, &scopes).await.unwrap();
    let seen = transport.only();
    assert_eq!((seen.certificate, seen.url.starts_with("https://login.")), (false, true));
    let over_mtls = builder().with_certificate(pair.certificate()).bearer_over_mtls().build().unwrap();
    over_mtls.on_behalf_of(&user, &scopes).await.unwrap();
    let seen = transport.only();
    assert_eq!((seen.certificate, seen.url.starts_with("https://mtlsauth.")), (true, true));
    assert_eq!(seen.parameter("token_type"), "");
}

#[tokio::test]
async fn observers_see_nothing_that_may_be_a_secret() {
    let transport = AnsweringTransport::with_tokens();
    let client = client(&transport);
    let scopes = ResourceScope::for_user("https://graph.microsoft.com/User.Read").unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let observer = move |request: &ObservedRequest| keep.lock().unwrap().push(format!("{request:?}"));
    let user = Secret::new("alice-secret-token");
    let acquire = client.on_behalf_of(&user, &scopes).body("password_hint", "hunter2");
    acquire.observe(Arc::new(observer)).await.unwrap();
    let seen = seen.lock().unwrap().join("\n");
    assert!(seen.contains("password_hint") && seen.contains("User.Read"), "{seen}");
    assert!(!seen.contains("hunter2") && !seen.contains("alice-secret-token"), "{seen}");
}

#[tokio::test]
async fn other_members_of_the_answer_come_along_and_tokens_among_them_do_not() {
    let transport = AnsweringTransport::new(|_| {
        // {"uid":"u","utid":"t","xms_r":"1","none":null}
        let info = "eyJ1aWQiOiJ1IiwidXRpZCI6InQiLCJ4bXNfciI6IjEiLCJub25lIjpudWxsfQ";
        let body = format!(
            r#"{{"token_type":"Bearer","access_token":"T","expires_in":3600,"refresh_token":"R","id_token":"I",
                "client_info":"{info}","foci":"1","region":"westus","n":7,"nothing":null}}"#
        );
        (200, body)
    });
    let client = client(&transport);
    let scope = vault();
    for _ in 0..2 {
        let details = client.bearer_token(&scope).await.unwrap().details();
        let found: Vec<(&str, &str)> =
            details.additional.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("n", "7"), ("region", "westus"), ("xms_r", "1")]);
    }
    transport.only();
}
