//! The requests about an authority that precede a token request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certbound::credential::{BySecret, NoCredential};
use certbound::retry::RetryPolicy;
use certbound::{Authority, Client, ClientBuilder, Error, ResourceScope, Secret};
use certbound_testkit::{AnsweringTransport, LevelFilter, ManualClock, RecordedSpans, Seen};

use crate::observers::Lines;
use crate::refresh::NOW;

const ISSUER: &str = "https://idp.example/realm";
const TOKEN: &str = r#"{"token_type":"Bearer","access_token":"T","expires_in":3600}"#;

fn metadata(issuer: &str) -> String {
    format!(r#"{{"issuer":"{issuer}","token_endpoint":"https://idp.example/realm/token"}}"#)
}

fn scope() -> ResourceScope {
    ResourceScope::of_other_authority("read").unwrap()
}

fn builder(authority: Authority, transport: &AnsweringTransport) -> ClientBuilder<NoCredential> {
    let app = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
    Client::builder(authority, app).with_transport(transport.clone()).with_clock(ManualClock::at(NOW))
}

fn client(authority: Authority, transport: &AnsweringTransport) -> Client<BySecret> {
    builder(authority, transport).with_secret(Secret::new("s")).build().unwrap()
}

fn issuer(
    answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static,
) -> (Client<BySecret>, AnsweringTransport) {
    let transport = AnsweringTransport::new(move |seen| match seen.method.as_str() {
        "GET" => answer(seen),
        _ => (200, TOKEN.to_owned()),
    });
    (client(Authority::oidc(ISSUER).unwrap(), &transport), transport)
}

fn gets(transport: &AnsweringTransport) -> Vec<String> {
    transport.seen().into_iter().filter(|seen| seen.method == "GET").map(|seen| seen.url).collect()
}

#[tokio::test]
async fn an_issuer_is_asked_once_however_many_wait() {
    let (client, transport) = issuer(|_| (200, metadata(ISSUER)));
    let scopes: Vec<ResourceScope> =
        (0..50).map(|n| ResourceScope::of_other_authority(&format!("read{n}")).unwrap()).collect();
    let all = scopes.iter().map(|scope| async { client.bearer_token(scope).await });
    for token in futures_util::future::join_all(all).await {
        token.unwrap();
    }
    assert_eq!(gets(&transport), ["https://idp.example/realm/.well-known/openid-configuration"]);
    let get = transport.seen().into_iter().find(|seen| seen.method == "GET").unwrap();
    assert!(!get.certificate);
    assert_eq!(get.header("accept"), "application/json");
    assert_eq!(get.header("client-request-id").len(), 36);
    assert_eq!(get.header("return-client-request-id"), "true");
    assert_eq!(get.header("x-client-sku"), "certbound");
    assert!(
        transport
            .seen()
            .iter()
            .all(|seen| seen.method == "GET" || seen.url == "https://idp.example/realm/token")
    );
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (client, transport) = issuer(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => (503, String::new()),
        2 => (200, "<html>".to_owned()),
        _ => (200, metadata(ISSUER)),
    });
    let scope = scope();
    let error = client.bearer_token(&scope).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("service_not_available", true));
    assert_eq!(client.bearer_token(&scope).await.unwrap_err().code(), "oidc_failure");
    assert_eq!(transport.seen().len(), 3, "no credential was sent");
    client.bearer_token(&scope).await.unwrap();
}

/// The rules are those of a token request. Instance discovery has no retries, as in MSAL.
#[tokio::test]
async fn a_document_of_an_issuer_or_of_ad_fs_is_requested_again_as_a_token_is() {
    let links = r#"{"links":[{"rel":"http://schemas.microsoft.com/rel/trusted-realm","href":"https://fs.contoso.com"}]}"#;
    let instance = r#"{"tenant_discovery_endpoint":"x"}"#.to_owned();
    let entra = Authority::parse("https://login.new.example/contoso.com").unwrap();
    let adfs = Authority::parse("https://fs.contoso.com/adfs").unwrap();
    let (default, none) = (RetryPolicy::default(), RetryPolicy::none());
    for (authority, document, retries) in [
        (Authority::oidc(ISSUER).unwrap(), metadata(ISSUER), true),
        (adfs, links.to_owned(), true),
        (entra, instance, false),
    ] {
        let scope = if authority.has_environment() || !retries { vault() } else { scope() };
        for (policy, status, may_retry) in [
            (default, 503, true),
            (default, 500, true),
            (default.without_throttling(), 599, true),
            (default.without_retries(), 503, false),
            (none, 503, false),
            (default, 400, false),
            (default, 404, false),
            (default, 408, false),
            (default, 429, false),
        ] {
            let (asked, document) = (AtomicUsize::new(0), document.clone());
            let transport = unknown(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
                0 => (status, String::new()),
                _ => (200, document.clone()),
            });
            let client = builder(authority.clone(), &transport).with_retry_policy(policy);
            let client = client.with_secret(Secret::new("s")).build().unwrap();
            let acquired = client.bearer_token(&scope).await;
            let again = may_retry && retries;
            assert_eq!(acquired.is_ok(), again, "{authority} {status}: {acquired:?}");
            assert_eq!(gets(&transport).len(), if again { 2 } else { 1 }, "{authority} {status}");
        }
    }
}

#[tokio::test]
async fn each_attempt_of_discovery_has_its_number() {
    let (spans, _guard) = RecordedSpans::begin(LevelFilter::INFO);
    let (transport, lines) = (unknown(|_| (503, String::new())), Arc::new(Lines::default()));
    let client = builder(Authority::oidc(ISSUER).unwrap(), &transport).with_observer(lines.clone());
    let client = client.with_secret(Secret::new("s")).build().unwrap();
    let error = client.bearer_token(&scope()).await.unwrap_err();
    assert_eq!(error.target().unwrap().attempts, 2);
    let expected = ["discovery #1: 503", "discovery #2: 503", "bearer in none: service_not_available"];
    assert_eq!(lines.take(), expected);
    let all = spans.all();
    let resent =
        spans.positions("discovery_request").into_iter().map(|at| all[at].field("http.request.resend_count"));
    assert_eq!(resent.collect::<Vec<_>>(), ["", "1"]);
}

#[tokio::test]
async fn what_an_issuer_must_not_say_sends_nothing_to_it() {
    let with = |member: &str| {
        format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"https://idp.example/t",{member}}}"#)
    };
    let long = format!(r#"{{"issuer":"{ISSUER}","x":"{}"}}"#, "y".repeat(256 * 1024));
    for (status, body, code) in [
        (404, String::new(), "not_found"),
        (400, String::new(), "http_status_not_200"),
        (302, String::new(), "redirect_refused"),
        (201, metadata(ISSUER), "http_status_not_200"),
        (200, String::new(), "oidc_failure"),
        (200, "[]".to_owned(), "oidc_failure"),
        (200, long, "oidc_failure"),
        (200, format!(r#"{{"issuer":"{ISSUER}"}}"#), "oidc_failure"),
        (200, format!(r#"{{"issuer":"{ISSUER}","token_endpoint":7}}"#), "oidc_failure"),
        (200, format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"http://idp.example/t"}}"#), "oidc_failure"),
        (
            200,
            format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"https://u:p@idp.example/t"}}"#),
            "oidc_failure",
        ),
        (
            200,
            format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"https://idp.example/t\nx"}}"#),
            "oidc_failure",
        ),
        (
            200,
            format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"https://idp.example/t#x"}}"#),
            "oidc_failure",
        ),
        (200, with(r#""issuer":"https://evil.example""#), "oidc_failure"),
        (200, with(r#""mtls_endpoint_aliases":[]"#), "oidc_failure"),
        (200, with(r#""mtls_endpoint_aliases":{"token_endpoint":"ftp://x"}"#), "oidc_failure"),
        (200, with(r#""tls_client_certificate_bound_access_tokens":"yes""#), "oidc_failure"),
        (200, with(r#""token_endpoint_auth_methods_supported":[1]"#), "oidc_failure"),
        (200, metadata("https://evil.example/realm"), "authority_validation_failed"),
        (200, metadata("http://idp.example/realm"), "authority_validation_failed"),
        (200, metadata("https://idp.example:8443/realm"), "authority_validation_failed"),
        (200, metadata("https://idp.example.evil.example"), "authority_validation_failed"),
        (200, metadata("https://login.microsoftonline.com.evil.example"), "authority_validation_failed"),
        (200, metadata(""), "authority_validation_failed"),
        (200, r#"{"token_endpoint":"https://idp.example/t"}"#.to_owned(), "authority_validation_failed"),
    ] {
        let answer = body.clone();
        let (client, transport) = issuer(move |_| (status, answer.clone()));
        let scope = scope();
        for _ in 0..2 {
            let error = client.bearer_token(&scope).await.unwrap_err();
            assert_eq!(error.code(), code, "{status} {body:.200}: {error}");
            assert!(!error.fix().is_empty());
        }
        assert_eq!(gets(&transport).len(), 2, "{body:.200}");
        assert_eq!(transport.seen().len(), 2, "{body:.200}");
    }
}

#[tokio::test]
async fn an_issuer_may_be_microsofts_own_or_a_customer_directory() {
    for name in [
        "https://login.microsoftonline.com/x/v2.0",
        "https://westus3.login.microsoftonline.us/x",
        "https://realm.ciamlogin.com",
        "https://realm.ciamlogin.com/realm/v2.0",
        "https://idp.example/another/path/",
    ] {
        let (client, _) = issuer(move |_| (200, metadata(name)));
        client.bearer_token(&scope()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn unknown(answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> AnsweringTransport {
    AnsweringTransport::new(move |seen| match seen.method.as_str() {
        "GET" => answer(seen),
        _ => (200, TOKEN.to_owned()),
    })
}

fn vault() -> ResourceScope {
    ResourceScope::key_vault(certbound::Cloud::Public)
}

#[tokio::test]
async fn a_host_nobody_knows_is_looked_up_before_a_credential_goes_there() {
    let invalid = r#"{"error":"invalid_instance","error_description":"AADSTS50049: Unknown or invalid instance.","error_codes":[50049]}"#;
    let transport = unknown(move |_| (400, invalid.to_owned()));
    let authority = Authority::parse("https://login.mistyped.example/contoso.com").unwrap();
    let scope = vault();
    let refused = client(authority.clone(), &transport).bearer_token(&scope).await.unwrap_err();
    assert_eq!((refused.code(), refused.aadsts()), ("invalid_instance", Some(50_049)));
    assert_eq!(refused.host(), Some("login.microsoftonline.com"));
    assert_eq!(refused.target().unwrap().authority.as_deref(), Some("login.mistyped.example"));
    let endpoint = "https://login.microsoftonline.com/common/discovery/instance";
    assert_eq!(
        refused.to_string(),
        format!(
            "`login.mistyped.example` is not a login host in Microsoft's directory: invalid_instance: \
             AADSTS50049: Unknown or invalid instance (request to {endpoint}, correlation id {}) [invalid_instance]",
            refused.correlation_id().unwrap()
        )
    );
    assert!(refused.fix().contains("--no-authority-validation"), "{}", refused.fix());
    assert_eq!(
        transport.only().url,
        "https://login.microsoftonline.com/common/discovery/instance?api-version=1.1&authorization_endpoint=\
         https%3A%2F%2Flogin.mistyped.example%2Fcontoso.com%2Foauth2%2Fv2.0%2Fauthorize"
    );

    // Without validation the authority is used unchanged.
    let trusting = builder(authority.clone(), &transport).with_secret(Secret::new("s"));
    let trusting = trusting.without_authority_validation().build().unwrap();
    trusting.bearer_token(&scope).await.unwrap();
    assert_eq!(transport.only().url, "https://login.mistyped.example/contoso.com/oauth2/v2.0/token");

    // For known hosts, and for all their aliases, no discovery request is sent.
    for known in ["login.microsoftonline.com", "sts.windows.net", "westus3.login.microsoft.com"] {
        let authority = Authority::parse(&format!("https://{known}/contoso.com")).unwrap();
        client(authority, &transport).bearer_token(&scope).await.unwrap();
        assert_eq!(transport.only().method, "POST", "{known}");
    }
}

#[tokio::test]
async fn the_answer_names_the_host_to_use_and_is_remembered() {
    let list = |preferred: &str| {
        format!(
            r#"{{"tenant_discovery_endpoint":"x","metadata":[{{"preferred_network":"{preferred}","preferred_cache":"{preferred}","aliases":["login.new.example","{preferred}"]}}]}}"#
        )
    };
    let transport = unknown(move |_| (200, list("login.preferred.example")));
    let authority = Authority::parse("https://login.new.example/contoso.com").unwrap();
    let client = client(authority, &transport);
    client.bearer_token(&vault()).await.unwrap();
    client.bearer_token(&ResourceScope::graph(certbound::Cloud::Public)).await.unwrap();
    let urls: Vec<String> = transport.seen().into_iter().skip(1).map(|seen| seen.url).collect();
    assert_eq!(urls, ["https://login.preferred.example/contoso.com/oauth2/v2.0/token"; 2]);
    assert_eq!(gets(&transport).len(), 1);

    // This answer only confirms the host.
    let transport = unknown(|_| (200, r#"{"tenant_discovery_endpoint":"x"}"#.to_owned()));
    let authority = Authority::parse("https://login.new.example/contoso.com").unwrap();
    self::client(authority, &transport).bearer_token(&vault()).await.unwrap();
    assert_eq!(transport.seen()[1].url, "https://login.new.example/contoso.com/oauth2/v2.0/token");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_no_permission() {
    for (status, body, code) in [
        (500, "", "service_not_available"),
        (200, "", "invalid_instance_metadata"),
        (200, "{}", "invalid_instance_metadata"),
        (200, r#"{"metadata":[]}"#, "invalid_instance_metadata"),
        (
            200,
            r#"{"metadata":[{"preferred_network":"a/b","preferred_cache":"a.b","aliases":[]}]}"#,
            "invalid_instance_metadata",
        ),
        (301, "", "redirect_refused"),
    ] {
        let transport = unknown(move |_| (status, body.to_owned()));
        let authority = Authority::parse("https://login.new.example/contoso.com").unwrap();
        let error = client(authority, &transport).bearer_token(&vault()).await.unwrap_err();
        assert_eq!(error.code(), code, "{body}");
        assert!(error.host().is_some() && error.correlation_id().is_some(), "{error}");
        assert_eq!(transport.only().method, "GET");
    }
}

#[tokio::test]
async fn a_federation_server_says_itself_that_it_is_one() {
    let webfinger = |href: &str| {
        format!(r#"{{"links":[{{"rel":"http://schemas.microsoft.com/rel/trusted-realm","href":"{href}"}}]}}"#)
    };
    for (status, body, is_one) in [
        (200, webfinger("https://fs.contoso.com"), true),
        (200, webfinger("https://evil.example"), false),
        (200, r#"{"links":[]}"#.to_owned(), false),
        (200, String::new(), false),
        (404, webfinger("https://fs.contoso.com"), false),
    ] {
        let answer = body.clone();
        let transport = unknown(move |_| (status, answer.clone()));
        let authority = Authority::parse("https://fs.contoso.com/adfs").unwrap();
        let token = client(authority, &transport).bearer_token(&scope()).await;
        let get = &transport.seen()[0];
        assert_eq!(
            get.url,
            "https://fs.contoso.com/.well-known/webfinger?rel=http://schemas.microsoft.com/rel/trusted-realm&resource=https://fs.contoso.com"
        );
        match token {
            Ok(_) => assert!(is_one, "{body}"),
            Err(error) => {
                assert!(!is_one && matches!(error, Error::PeerMisbehaved { .. }), "{body}: {error}");
                assert_eq!((error.code(), transport.seen().len()), ("invalid_authority", 1));
            }
        }
    }
}

/// An outage says nothing about the host, so the error is transient, and a token that is still valid is returned.
#[tokio::test]
async fn a_federation_server_that_is_unavailable_is_not_refused() {
    for status in [408, 429, 500, 503] {
        let transport = unknown(move |_| (status, String::new()));
        let authority = Authority::parse("https://fs.contoso.com/adfs").unwrap();
        let error = client(authority, &transport).bearer_token(&scope()).await.unwrap_err();
        assert!(error.is_transient() && error.code() != "invalid_authority", "{status}: {error}");
    }
}

/// RFC 6749, section 3.3: `Read` and `read` are two scopes, except in Microsoft's directories.
#[tokio::test]
async fn an_issuers_scopes_are_exactly_their_characters() {
    let token = r#"{"token_type":"Bearer","access_token":"T","expires_in":3600,"scope":"Read"}"#;
    let transport = AnsweringTransport::new(move |seen| match seen.method.as_str() {
        "GET" => (200, metadata(ISSUER)),
        _ => (200, token.to_owned()),
    });
    let of_issuer = client(Authority::oidc(ISSUER).unwrap(), &transport);
    assert_eq!(of_issuer.bearer_token(&scope()).await.unwrap_err().code(), "scope_mismatch");
    let entra = Authority::parse("https://login.microsoftonline.com/contoso.com").unwrap();
    let token =
        r#"{"token_type":"Bearer","access_token":"T","expires_in":3600,"scope":"HTTPS://VAULT.AZURE.NET"}"#;
    let transport = AnsweringTransport::new(move |_| (200, token.to_owned()));
    client(entra, &transport).bearer_token(&vault()).await.unwrap();
}

/// AUTH-04, AUTH-11, IDP-03: these authorities are refused before any request is sent, discovery included.
#[tokio::test]
async fn an_authority_that_issues_no_bound_tokens_is_sent_nothing() {
    let pair = certbound_testkit::Pair::new();
    for (authority, code) in [
        ("https://sts.new.example/contoso.com", "mtls_pop_not_supported_for_environment"),
        ("https://login.microsoftonline.com/consumers", "missing_tenanted_authority"),
        ("https://host.example/dstsv2/common", "missing_tenanted_authority"),
        ("https://host.example/dstsv2/organizations", "missing_tenanted_authority"),
    ] {
        let transport = AnsweringTransport::with_tokens();
        let builder = builder(Authority::parse(authority).unwrap(), &transport);
        let client = builder.with_certificate(pair.certificate()).with_clock(pair.clock().clone());
        let client = client.build().unwrap();
        assert_eq!(client.bound_token(&vault()).await.unwrap_err().code(), code, "{authority}");
        assert_eq!(client.assertion().await.map(drop).unwrap_err().code(), code, "{authority}");
        assert!(transport.seen().is_empty(), "{authority}");
    }
    for tenant in ["consumers", "9188040d-6c67-4c5b-b112-36a304b66dad"] {
        let transport = AnsweringTransport::with_tokens();
        let authority = Authority::parse("https://login.microsoftonline.com/contoso.com").unwrap();
        let client = builder(authority, &transport).with_certificate(pair.certificate());
        let client = client.with_clock(pair.clock().clone()).build().unwrap();
        let scope = vault();
        let token = client.bound_token(&scope).tenant(certbound::TenantId::parse(tenant).unwrap());
        assert_eq!(token.await.unwrap_err().code(), "missing_tenanted_authority");
        assert!(transport.seen().is_empty());
    }
}

#[tokio::test]
async fn entra_is_sent_no_scopes_of_another_authority() {
    let transport = AnsweringTransport::with_tokens();
    let entra = Authority::parse("https://login.microsoftonline.com/contoso.com").unwrap();
    let client = client(entra, &transport);
    for scopes in ["read", "https://a.example/.default https://b.example/.default"] {
        let scopes = ResourceScope::of_other_authority(scopes).unwrap();
        let error = client.bearer_token(&scopes).await.unwrap_err();
        assert!(matches!(error, Error::Misuse { .. }), "{error}");
        assert_eq!((error.code(), transport.seen().len()), ("invalid_scope", 0));
        assert!(error.fix().contains("/.default") || error.fix().contains("one token"), "{}", error.fix());
    }
}
