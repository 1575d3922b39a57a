//! A tenant or an authority for one request, and the application's own instance metadata.

use certbound::authority::InstanceMetadata;
use certbound::credential::{BySecret, NoCredential};
use certbound::{Authority, Client, ClientBuilder, Cloud, Region, ResourceScope, Secret, TenantId};
use certbound_testkit::AnsweringTransport;

const APP: &str = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";

fn at(url: &str) -> Authority {
    Authority::parse(url).unwrap()
}

fn builder(authority: Authority, transport: &AnsweringTransport) -> ClientBuilder<NoCredential> {
    Client::builder(authority, APP).with_transport(transport.clone())
}

fn client(authority: Authority, transport: &AnsweringTransport) -> Client<BySecret> {
    builder(authority, transport)
        .with_secret(Secret::new("s"))
        .without_authority_validation()
        .build()
        .unwrap()
}

fn vault() -> ResourceScope {
    ResourceScope::key_vault(Cloud::Public)
}

#[tokio::test]
async fn a_request_may_name_another_tenant_where_there_is_one_to_choose() {
    let transport = AnsweringTransport::with_tokens();
    let other = || TenantId::parse("other.example").unwrap();
    let scope = vault();
    for (authority, url) in [
        (
            "https://login.microsoftonline.com/a.example",
            "https://login.microsoftonline.com/other.example/oauth2/v2.0/token",
        ),
        ("https://contoso.ciamlogin.com", "https://contoso.ciamlogin.com/other.example/oauth2/v2.0/token"),
        (
            "https://host.example/dstsv2/a.example",
            "https://host.example/dstsv2/other.example/oauth2/v2.0/token",
        ),
    ] {
        let client = client(at(authority), &transport);
        let token = client.bearer_token(&scope).tenant(other()).await.unwrap();
        assert_eq!(transport.only().url, url);
        assert_eq!(token.details().tenant, "other.example");
        // The client's own tenant has a different token.
        client.bearer_token(&scope).await.unwrap();
        assert_ne!(transport.only().url, url);
        client.bearer_token(&scope).tenant(other()).await.unwrap();
        assert!(transport.seen().is_empty());
    }
    for authority in [
        at("https://fs.contoso.com/adfs"),
        at("https://contoso.b2clogin.com/tfp/contoso.example/b2c_1_x"),
        Authority::oidc("https://idp.example").unwrap(),
    ] {
        let refused = client(authority, &transport).bearer_token(&scope).tenant(other()).await.unwrap_err();
        assert_eq!(refused.code(), "tenant_override_not_supported");
    }
    assert!(transport.seen().is_empty());
}

#[tokio::test]
async fn a_request_may_name_another_authority_that_goes_with_the_clients() {
    let westus3 = || Region::parse("westus3").unwrap();
    let oidc = |url: &str| Authority::oidc(url).unwrap();
    let public = "https://login.microsoftonline.com/a.example";
    let b2c = "https://contoso.b2clogin.com/tfp/contoso.example/b2c_1_x";
    let rows: [(Authority, Authority, Result<&str, &str>); 14] = [
        (
            at(public),
            at("https://login.microsoftonline.com/b.example"),
            Ok("https://login.microsoftonline.com/b.example/oauth2/v2.0/token"),
        ),
        // Another host name of the same environment.
        (
            at(public),
            at("https://login.windows.net/b.example"),
            Ok("https://login.microsoftonline.com/b.example/oauth2/v2.0/token"),
        ),
        (at(public), at("https://login.microsoftonline.us/b.example"), Err("authority_host_mismatch")),
        (at(public), at("https://login.evil.example/b.example"), Err("authority_host_mismatch")),
        (at(public), at("https://login.microsoftonline.com:8443/b.example"), Err("authority_host_mismatch")),
        (
            at("https://login.a.example/a.example"),
            at("https://login.b.example/a.example"),
            Err("authority_host_mismatch"),
        ),
        // The client's region still applies, and no other host is allowed.
        (
            at(public).with_region(westus3()),
            at("https://login.microsoftonline.com/b.example"),
            Ok("https://westus3.login.microsoft.com/b.example/oauth2/v2.0/token"),
        ),
        (
            at(public).with_region(westus3()),
            at("https://login.windows.net/b.example"),
            Err("authority_override_regional"),
        ),
        (at(public), at("https://fs.contoso.com/adfs"), Err("authority_type_mismatch")),
        (at("https://fs.contoso.com/adfs"), at(public), Err("authority_type_mismatch")),
        (
            at(b2c),
            at("https://other.b2clogin.com/tfp/contoso.example/b2c_1_x"),
            Err("B2C_authority_host_mismatch"),
        ),
        (
            at(b2c),
            at("https://contoso.b2clogin.com/tfp/contoso.example/b2c_1_y"),
            Ok("https://contoso.b2clogin.com/tfp/contoso.example/b2c_1_y/oauth2/v2.0/token"),
        ),
        (
            at("https://a.ciamlogin.com"),
            at("https://b.ciamlogin.com"),
            Ok("https://b.ciamlogin.com/b.onmicrosoft.com/oauth2/v2.0/token"),
        ),
        (
            oidc("https://a.example"),
            at("https://login.microsoftonline.com/b.example"),
            Err("authority_type_mismatch"),
        ),
    ];
    let scope = vault();
    for (configured, asked, expected) in rows {
        let transport = AnsweringTransport::with_tokens();
        let (from, to) = (configured.url(), asked.url());
        match client(configured, &transport).bearer_token(&scope).authority(asked).await {
            Ok(_) => assert_eq!(Ok(transport.only().url.as_str()), expected, "{from} to {to}"),
            Err(error) => {
                assert_eq!(Err(error.code()), expected, "{from} to {to}");
                assert!(transport.seen().is_empty());
            }
        }
    }
    // If a request names both, the authority and the tenant are used.
    let transport = AnsweringTransport::with_tokens();
    let client = client(at(public), &transport);
    let tenant = TenantId::parse("c.example").unwrap();
    client
        .bearer_token(&scope)
        .authority(at("https://login.windows.net/b.example"))
        .tenant(tenant)
        .await
        .unwrap();
    assert_eq!(transport.only().url, "https://login.microsoftonline.com/c.example/oauth2/v2.0/token");
}

const METADATA: &str = r#"{"metadata":[{"preferred_network":"login.net.example","preferred_cache":"login.cache.example",
    "aliases":["login.a.example","login.b.example"]}]}"#;

#[tokio::test]
async fn metadata_of_ones_own_says_where_requests_go() {
    let metadata = || InstanceMetadata::parse(METADATA.as_bytes()).unwrap();
    let transport = AnsweringTransport::with_tokens();
    let with = |url: &str| {
        let builder = builder(at(url), &transport).with_instance_metadata(metadata());
        builder.with_secret(Secret::new("s")).build()
    };
    let scope = vault();
    let client = with("https://login.a.example/t.example").unwrap();
    client.bearer_token(&scope).await.unwrap();
    assert_eq!(transport.only().url, "https://login.net.example/t.example/oauth2/v2.0/token");
    client.bearer_token(&scope).authority(at("https://login.b.example/u.example")).await.unwrap();
    assert_eq!(transport.only().url, "https://login.net.example/u.example/oauth2/v2.0/token");
    let missing = client.bearer_token(&scope).authority(at("https://login.c.example/u.example")).await;
    assert_eq!(missing.unwrap_err().code(), "invalid-custom-instance-metadata");

    assert_eq!(
        with("https://login.c.example/t.example").unwrap_err().code(),
        "invalid-custom-instance-metadata"
    );
    let region = Region::parse("westus3").unwrap();
    let regional = builder(at("https://login.a.example/t.example").with_region(region), &transport);
    let refused =
        regional.with_instance_metadata(metadata()).with_secret(Secret::new("s")).build().unwrap_err();
    assert_eq!(refused.code(), "region_discovery_with_custom_instance_metadata");
    assert!(transport.seen().is_empty());
}

/// The metadata says nothing about AD FS, so its host is still checked before a credential is sent to it.
#[tokio::test]
async fn metadata_of_ones_own_does_not_replace_the_check_of_an_ad_fs_host() {
    let transport = AnsweringTransport::with_tokens();
    let metadata = InstanceMetadata::parse(METADATA.as_bytes()).unwrap();
    let builder = builder(at("https://fs.contoso.com/adfs"), &transport).with_instance_metadata(metadata);
    let client = builder.with_secret(Secret::new("s")).build().unwrap();
    let refused = client.bearer_token(&vault()).await.unwrap_err();
    assert_eq!(refused.code(), "invalid_authority");
    assert!(transport.only().url.starts_with("https://fs.contoso.com/.well-known/webfinger?"));
}

#[test]
fn an_application_of_microsofts_directories_has_a_guid() {
    let transport = AnsweringTransport::with_tokens();
    let builds = |authority: Authority, id: &str| {
        let builder = Client::builder(authority, id).with_transport(transport.clone());
        builder.with_secret(Secret::new("s")).build().map(|client| client.client_id().to_owned())
    };
    let entra = || at("https://login.microsoftonline.com/a.example");
    assert_eq!(builds(entra(), &APP.to_uppercase()).unwrap(), APP);
    assert_eq!(builds(entra(), "urn:microsoft:identity:fmi").unwrap(), "urn:microsoft:identity:fmi");
    assert_eq!(builds(entra(), "my-app").unwrap_err().code(), "invalid_client_id");
    for other in [at("https://fs.contoso.com/adfs"), Authority::oidc("https://idp.example").unwrap()] {
        assert_eq!(builds(other.clone(), "My-App").unwrap(), "My-App");
        // For these authorities the two ids are different clients. Entra would compare them without case.
        for id in [APP.to_uppercase(), APP.to_owned()] {
            assert_eq!(builds(other.clone(), &id).unwrap(), id);
        }
        for bad in ["", "a\nb", &"x".repeat(257)] {
            assert_eq!(builds(other.clone(), bad).unwrap_err().code(), "invalid_client_id");
        }
    }
    let blank =
        Client::builder(entra(), APP).with_transport(transport.clone()).with_secret(Secret::new(" \n"));
    assert_eq!(blank.build().unwrap_err().code(), "client_secret_empty");
}
