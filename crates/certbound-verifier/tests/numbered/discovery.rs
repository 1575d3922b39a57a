//! Cases 57 and 60: metadata that names the keys of a different issuer. Other tests check the URLs that the verifier
//! requests.

use certbound_verifier::{
    Algorithm, Authorization, Cloud, FetchError, Issuer, Refusal, Scheme, TenantId, Verified, Verifier,
};
use serde_json::{Value, json};

use crate::keys::{At, Documents, JWKS, METADATA, decide, jwk, verifier};
use crate::support::{AUDIENCE, KID, OTHER_TENANT, TENANT, client, code, token};

fn own_issuer() -> String {
    format!("https://login.microsoftonline.com/{TENANT}/v2.0")
}

#[tokio::test]
async fn v57_keys_come_from_the_issuers_host_only() {
    for url in [
        "https://evil.example/keys",
        "http://login.microsoftonline.com/keys",
        "https://login.microsoftonline.com.evil.example/keys",
        "https://login.microsoftonline.com@evil.example/keys",
        "https://user@login.microsoftonline.com/keys",
        "https://login.microsoftonline.com:8443/keys",
        "//login.microsoftonline.com/keys",
        "file:///etc/passwd",
        "",
    ] {
        let (documents, clock) = (Documents::entra(), At::now());
        documents.set(METADATA, &json!({ "issuer": own_issuer(), "jwks_uri": url }));
        documents.set(url, &json!({ "keys": [jwk(KID)] }));
        assert_eq!(decide(&verifier(&documents, &clock), &clock, KID).await, "keys_unavailable", "{url}");
        assert_eq!(documents.count(), 1, "{url} is not requested");
    }
}

#[tokio::test]
async fn v60_metadata_of_another_issuer_is_refused() {
    for issuer in [
        json!(format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0")),
        json!("https://login.microsoftonline.com/{tenantid}/v2.0"),
        json!(format!("{}/", own_issuer())),
        json!(null),
        json!(7),
    ] {
        let (documents, clock) = (Documents::entra(), At::now());
        documents.set(METADATA, &json!({ "issuer": issuer, "jwks_uri": JWKS }));
        assert_eq!(decide(&verifier(&documents, &clock), &clock, KID).await, "keys_unavailable", "{issuer}");
    }
}

const IDP: &str = "https://idp.example/realm";
const OF_OPENID: &str = "https://idp.example/realm/.well-known/openid-configuration";
const OF_OAUTH: &str = "https://idp.example/.well-known/oauth-authorization-server/realm";

fn idp() -> (Issuer, Vec<(&'static str, Value)>) {
    let claims = vec![("iss", json!(IDP)), ("azp", json!("c")), ("sub", json!("c"))];
    (Issuer::oidc(IDP, [Algorithm::Rs256]).unwrap(), claims)
}

/// RFC 8414, section 3.1: the well-known path is between host and path.
#[tokio::test]
async fn metadata_of_rfc_8414_where_there_is_none_of_openid() {
    let keys = "https://idp.example/jwks";
    for absent in [404, 410] {
        let documents = Documents::default();
        documents.fail(OF_OPENID, FetchError::Status { status: absent });
        documents.set(OF_OAUTH, &json!({ "issuer": IDP, "jwks_uri": keys }));
        documents.set(keys, &json!({ "keys": [jwk(KID)] }));
        let (issuer, claims) = idp();
        assert_eq!(by(issuer, &documents, &claims).await, "accepted", "{absent}");
        assert_eq!(documents.count(), 3);
    }
    // This issuer has no path.
    let documents = Documents::default();
    let root = "https://idp.example/";
    let of_oauth = "https://idp.example/.well-known/oauth-authorization-server";
    documents.set(of_oauth, &json!({ "issuer": root, "jwks_uri": keys }));
    documents.set(keys, &json!({ "keys": [jwk(KID)] }));
    let issuer = Issuer::oidc(root, [Algorithm::Rs256]).unwrap();
    let claims = [("iss", json!(root)), ("azp", json!("c")), ("sub", json!("c"))];
    assert_eq!(by(issuer, &documents, &claims).await, "accepted");
}

/// The verifier fetches the metadata of RFC 8414 only if the issuer answers 404 or 410 for the OpenID metadata.
#[tokio::test]
async fn metadata_of_rfc_8414_replaces_no_answer_of_openid() {
    let keys = "https://idp.example/jwks";
    let failures = [
        FetchError::Status { status: 500 },
        FetchError::Status { status: 403 },
        FetchError::Status { status: 302 },
        FetchError::Timeout { seconds: 10 },
        FetchError::Tls { reason: "bad certificate".to_owned() },
    ];
    let documents = Documents::default();
    documents.set(OF_OAUTH, &json!({ "issuer": IDP, "jwks_uri": keys }));
    documents.set(keys, &json!({ "keys": [jwk(KID)] }));
    for failure in failures {
        documents.fail(OF_OPENID, failure);
        let (issuer, claims) = idp();
        assert_eq!(by(issuer, &documents, &claims).await, "keys_unavailable");
    }
    for wrong in [json!({ "issuer": "https://evil.example", "jwks_uri": keys }), json!([])] {
        documents.set(OF_OPENID, &wrong);
        let (issuer, claims) = idp();
        assert_eq!(by(issuer, &documents, &claims).await, "keys_unavailable");
    }
    // The `issuer` in the metadata of RFC 8414 must be right too.
    documents.fail(OF_OPENID, FetchError::Status { status: 404 });
    documents.set(OF_OAUTH, &json!({ "issuer": "https://idp.example", "jwks_uri": keys }));
    let (issuer, claims) = idp();
    assert_eq!(by(issuer, &documents, &claims).await, "keys_unavailable");
    let (issuer, claims) = idp();
    documents.fail(OF_OAUTH, FetchError::Status { status: 404 });
    let told = reason(issuer, &documents, &claims).await;
    assert!(told.contains(OF_OPENID) && told.contains(OF_OAUTH), "{told}");
}

/// Entra always has OpenID metadata.
#[tokio::test]
async fn entra_is_not_asked_for_metadata_of_rfc_8414() {
    let (documents, clock) = (Documents::entra(), At::now());
    documents.fail(METADATA, FetchError::Status { status: 404 });
    assert_eq!(decide(&verifier(&documents, &clock), &clock, KID).await, "keys_unavailable");
    assert_eq!(documents.count(), 1);
}

#[tokio::test]
async fn a_keys_host_without_a_port_has_every_port() {
    let keys = "https://keys.example:8443/jwks";
    let documents = Documents::default();
    documents.set(OF_OPENID, &json!({ "issuer": IDP, "jwks_uri": keys }));
    documents.set(keys, &json!({ "keys": [jwk(KID)] }));
    for (host, expected) in [
        ("keys.example", "accepted"),
        ("Keys.Example:8443", "accepted"),
        ("keys.example:443", "keys_unavailable"),
        ("idp.example", "keys_unavailable"),
    ] {
        let (issuer, claims) = idp();
        assert_eq!(
            by(issuer.with_keys_at_host(host).unwrap(), &documents, &claims).await,
            expected,
            "{host}"
        );
    }
    let error = idp().0.with_keys_at_host("https://keys.example").unwrap_err();
    assert_eq!(error.code(), "invalid_keys_host");
}

async fn by(issuer: Issuer, documents: &Documents, claims: &[(&str, Value)]) -> &'static str {
    code(decision(issuer, documents, claims).await)
}

async fn reason(issuer: Issuer, documents: &Documents, claims: &[(&str, Value)]) -> String {
    decision(issuer, documents, claims).await.unwrap_err().to_string()
}

async fn decision(
    issuer: Issuer,
    documents: &Documents,
    claims: &[(&str, Value)],
) -> Result<Verified, Refusal> {
    let clock = At::now();
    let verifier = Verifier::builder()
        .issuer(issuer)
        .audience(AUDIENCE)
        .dangerous_any_caller()
        .with_clock(clock)
        .with_fetch(documents.clone())
        .build()
        .unwrap();
    let mut token = token();
    for (name, value) in claims {
        token = token.claim(name, value.clone());
    }
    let token = token.sign();
    verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await
}

#[tokio::test]
async fn several_tenants_share_the_common_document_whose_issuer_is_a_template() {
    let documents = Documents::default();
    let host = "https://login.microsoftonline.us";
    let jwks = format!("{host}/common/discovery/v2.0/keys");
    documents.set(
        &format!("{host}/common/v2.0/.well-known/openid-configuration"),
        &json!({ "issuer": format!("{host}/{{tenantid}}/v2.0"), "jwks_uri": jwks }),
    );
    documents.set(&jwks, &json!({ "keys": [jwk(KID)] }));
    let tenants = [TENANT, OTHER_TENANT].map(|tenant| TenantId::parse(tenant).unwrap());
    let issuer = Issuer::entra(Cloud::UsGovernment, tenants).unwrap();
    let of = |tenant: &str| [("tid", json!(tenant)), ("iss", json!(format!("{host}/{tenant}/v2.0")))];
    assert_eq!(by(issuer.clone(), &documents, &of(TENANT)).await, "accepted");
    assert_eq!(by(issuer, &documents, &of(OTHER_TENANT)).await, "accepted");
    let any = Issuer::entra_where(Cloud::UsGovernment, |_| true);
    assert_eq!(by(any, &documents, &of(OTHER_TENANT)).await, "accepted");
}

#[tokio::test]
async fn another_issuer_by_openid_discovery() {
    let documents = Documents::default();
    let keys = "https://keys.example/jwks";
    documents.set(
        "https://idp.example/realm/.well-known/openid-configuration",
        &json!({ "issuer": "https://idp.example/realm", "jwks_uri": keys }),
    );
    documents.set(keys, &json!({ "keys": [jwk(KID)] }));
    let issuer = Issuer::oidc("https://idp.example/realm", [Algorithm::Rs256]).unwrap();
    let claims = [("iss", json!("https://idp.example/realm")), ("azp", json!("c")), ("sub", json!("c"))];
    assert_eq!(by(issuer.clone(), &documents, &claims).await, "keys_unavailable", "keys of another host");
    let elsewhere = issuer.with_keys_at_host("keys.example").unwrap();
    assert_eq!(by(elsewhere.clone(), &documents, &claims).await, "accepted");
    let user = [("iss", json!("https://idp.example/realm")), ("azp", json!("c")), ("sub", json!("u"))];
    assert_eq!(by(elsewhere, &documents, &user).await, "caller_kind_not_accepted");
    let pinned = Issuer::oidc("https://idp.example/realm", [Algorithm::Es256]).unwrap();
    let pinned = pinned.with_keys_at_host("keys.example").unwrap();
    let asked = documents.count();
    assert_eq!(by(pinned, &documents, &claims).await, "algorithm_not_accepted");
    assert_eq!(documents.count(), asked, "this refusal needs no key");
}
