//! 57 and 60: metadata that leads to somebody else's keys; and what is asked where.

use certbound_verifier::{Algorithm, Authorization, Cloud, Issuer, Scheme, TenantId, Verifier};
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
        assert_eq!(documents.count(), 1, "{url} is not asked");
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

async fn by(issuer: Issuer, documents: &Documents, claims: &[(&str, Value)]) -> &'static str {
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
    code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await)
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
    let elsewhere = issuer.with_keys_at_host("keys.example");
    assert_eq!(by(elsewhere.clone(), &documents, &claims).await, "accepted");
    let user = [("iss", json!("https://idp.example/realm")), ("azp", json!("c")), ("sub", json!("u"))];
    assert_eq!(by(elsewhere, &documents, &user).await, "caller_kind_not_accepted");
    let pinned = Issuer::oidc("https://idp.example/realm", [Algorithm::Es256]).unwrap();
    let pinned = pinned.with_keys_at_host("keys.example");
    assert_eq!(by(pinned, &documents, &claims).await, "keys_unavailable", "no key fits the pinned algorithm");
}
