use certbound_core::certificate::Thumbprint;
use certbound_core::credential::JWT_BEARER;
use serde_json::json;

use super::*;
use crate::world::builtin::{
    APP_PRINCIPAL, GRAPH, MULTI_TENANT_APP, MULTI_TENANT_PRINCIPAL_IN_OTHER_TENANT, ORDERS, OTHER_TENANT,
    TARGET_APP, TARGET_PRINCIPAL,
};

#[test]
fn leg_1_is_a_version_2_token_for_the_exchange_bound_to_the_certificate() {
    let emulator = emulator();
    let response = Ask::leg1(&emulator).send(&emulator);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store, no-cache");
    let body = json_of(&response);
    assert_eq!(body["token_type"], "mtls_pop");
    assert_eq!(body["expires_in"], 3599);
    assert_eq!(body["scope"], EXCHANGE);
    let claims = claims(body["access_token"].as_str().unwrap());
    let thumbprint = Thumbprint::of_der(emulator.client_identity().leaf_der());
    let expected = [
        ("aud", json!("fb60f99c-7a34-4190-8149-302f77469936")),
        ("iss", json!(format!("https://login.microsoftonline.com/{TENANT}/v2.0"))),
        ("sub", json!(APP_PRINCIPAL)),
        ("oid", json!(APP_PRINCIPAL)),
        ("azp", json!(APP)),
        ("azpacr", json!("2")),
        ("idtyp", json!("app")),
        ("tid", json!(TENANT)),
        ("ver", json!("2.0")),
        ("iat", json!(1_784_999_700)),
        ("nbf", json!(1_784_999_700)),
        ("exp", json!(1_785_003_600)),
        ("xms_tbflags", json!(2)),
        ("cnf", json!({ "x5t#S256": thumbprint.x5t_s256() })),
    ];
    for (name, value) in expected {
        assert_eq!(claims.map().get(name), Some(&value), "{name}");
    }
    assert_eq!(claims.map().get("xms_ficinfo"), None);
}

#[test]
fn leg_2_is_a_token_for_the_resource_bound_to_the_same_certificate() {
    let emulator = emulator();
    let leg_1 = claims(&Ask::leg1(&emulator).token(&emulator));
    for (scope, version, audience) in [
        (VAULT_SCOPE.to_owned(), "1.0", "https://vault.azure.net"),
        (format!("{GRAPH}/.default"), "1.0", GRAPH),
        (format!("{ORDERS}/.default"), "2.0", "d95b1e37-8c04-4f6a-b2e9-60a7c3f81d45"),
    ] {
        let body = json_of(&Ask { scope: &scope, ..Ask::leg2(&emulator) }.send(&emulator));
        assert_eq!(body["token_type"], "mtls_pop", "{body}");
        assert_eq!(body["scope"], scope.as_str());
        let claims = claims(body["access_token"].as_str().unwrap());
        assert_eq!(claims.confirmation(), leg_1.confirmation());
        assert_eq!((claims.string("ver"), claims.audiences()), (Some(version), vec![audience]));
        assert!(claims.map().contains_key("xms_ficinfo"), "issued by federation");
        // A version 1 token repeats the issuer in `idp`, and repeats its key id in `x5t`.
        let first = version == "1.0";
        assert_eq!(claims.string("idp"), claims.string("iss").filter(|_| first));
        let token = UnverifiedJws::parse(body["access_token"].as_str().unwrap()).unwrap();
        assert_eq!(token.header().x5t(), token.header().kid().filter(|_| first));
    }
}

#[test]
fn leg_2_without_token_type_is_a_plain_token() {
    let emulator = emulator();
    let body = json_of(&Ask { bound: false, ..Ask::leg2(&emulator) }.send(&emulator));
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(claims(body["access_token"].as_str().unwrap()).map().get("cnf"), None);
}

#[test]
fn leg_2_may_be_another_application() {
    let emulator = emulator();
    let token = Ask { client_id: TARGET_APP, ..Ask::leg2(&emulator) }.token(&emulator);
    let claims = claims(&token);
    assert_eq!((claims.string("appid"), claims.string("oid")), (Some(TARGET_APP), Some(TARGET_PRINCIPAL)));
}

#[test]
fn leg_2_may_be_in_another_tenant_where_the_application_is_provisioned() {
    let emulator = emulator();
    let home = Ask { client_id: MULTI_TENANT_APP, ..Ask::leg1(&emulator) };
    let assertion = Some((JWT_POP, home.token(&emulator)));
    let abroad = Ask { tenant: OTHER_TENANT, scope: VAULT_SCOPE, assertion, ..home.clone() };
    let claims = claims(&abroad.token(&emulator));
    assert_eq!(claims.string("tid"), Some(OTHER_TENANT));
    assert_eq!(claims.string("oid"), Some(MULTI_TENANT_PRINCIPAL_IN_OTHER_TENANT));

    // In the other direction, the assertion's issuer is not the application's home tenant.
    let leg_1_abroad = Ask { tenant: OTHER_TENANT, ..home.clone() }.token(&emulator);
    let leg_2 = Ask { scope: VAULT_SCOPE, assertion: Some((JWT_POP, leg_1_abroad)), ..home };
    assert_eq!(leg_2.code(&emulator), 700_236);
}

#[test]
fn the_direct_flow_needs_no_legs() {
    let emulator = emulator();
    let body = json_of(&Ask { scope: VAULT_SCOPE, ..Ask::leg1(&emulator) }.send(&emulator));
    let claims = claims(body["access_token"].as_str().unwrap());
    assert_eq!(body["token_type"], "mtls_pop");
    assert_eq!(claims.string("appidacr"), Some("2"));
    assert_eq!(claims.map().get("xms_ficinfo"), None);
}

#[test]
fn both_legs_work_in_every_cloud_and_region_by_its_own_names() {
    let emulator = emulator();
    for (host, exchange, issuer, vault) in [
        (
            "westus3.mtlsauth.microsoft.com",
            "api://AzureADTokenExchange",
            "login.microsoftonline.com",
            "https://vault.azure.net",
        ),
        (
            "mtlsauth.microsoftonline.us",
            "api://AzureADTokenExchangeUSGov",
            "login.microsoftonline.us",
            "https://vault.usgovcloudapi.net",
        ),
        (
            "chinaeast2.mtlsauth.partner.microsoftonline.cn",
            "api://AzureADTokenExchangeChina",
            "login.partner.microsoftonline.cn",
            "https://vault.azure.cn",
        ),
        (
            "mtlsauth.sovcloud-identity.fr",
            "api://AzureADTokenExchangeFrance",
            "login.sovcloud-identity.fr",
            "https://vault.sovcloud-api.fr",
        ),
        (
            "mtlsauth.sovcloud-identity.de",
            "api://AzureADTokenExchangeGermany",
            "login.sovcloud-identity.de",
            "https://vault.sovcloud-api.de",
        ),
        (
            "mtlsauth.sovcloud-identity.sg",
            "api://AzureADTokenExchangeGovSG",
            "login.sovcloud-identity.sg",
            "https://vault.sovcloud-api.sg",
        ),
        (
            "eastus.mtlsauth.windows-ppe.net",
            "api://AzureADTokenExchangePpe",
            "login.windows-ppe.net",
            "https://vault-int.azure-int.net",
        ),
    ] {
        let scope = format!("{exchange}/.default");
        let tls = with(host, emulator.client_identity());
        let leg_1 = Ask { tls: tls.clone(), scope: &scope, ..Ask::leg1(&emulator) }.token(&emulator);
        assert_eq!(claims(&leg_1).string("iss"), Some(&*format!("https://{issuer}/{TENANT}/v2.0")));
        let vault = format!("{vault}/.default");
        let leg_2 = |scope| Ask {
            tls: tls.clone(),
            scope,
            assertion: Some((JWT_POP, leg_1.clone())),
            ..Ask::leg1(&emulator)
        };
        assert_eq!(leg_2(&vault).code(&emulator), 0, "{host}");
        // The vault of a different cloud is not a resource in this cloud.
        let elsewhere =
            if issuer.ends_with(".com") { "https://vault.azure.cn/.default" } else { VAULT_SCOPE };
        assert_eq!(leg_2(elsewhere).code(&emulator), 500_011, "{host}");
        // The audience of a different cloud's token exchange has a refusal of its own.
        let exchange = if exchange.ends_with("USGov") {
            "api://AzureADTokenExchange"
        } else {
            "api://AzureADTokenExchangeUSGov"
        };
        for exchange in [exchange, "api://AzureADTokenExchangeUSNat", "api://AzureADTokenExchangeUSSec"] {
            let scope = format!("{exchange}/.default");
            let ask = Ask { tls: tls.clone(), scope: &scope, ..Ask::leg1(&emulator) };
            assert_eq!(ask.code(&emulator), 7_002_206, "{exchange} at {host}");
        }
    }
}

#[test]
fn an_assertion_of_one_cloud_is_not_taken_in_another() {
    let emulator = emulator();
    let tls = with("mtlsauth.microsoftonline.us", emulator.client_identity());
    assert_eq!(Ask { tls, ..Ask::leg2(&emulator) }.code(&emulator), 900_382);
}

#[test]
fn the_tenant_may_be_named_by_its_domain_and_capabilities_stand_in_the_token() {
    let emulator = emulator();
    let body = form(&[
        ("client_id", APP),
        ("scope", VAULT_SCOPE),
        ("grant_type", "client_credentials"),
        ("token_type", "mtls_pop"),
        ("claims", r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#),
    ]);
    let tls = with(MTLS, emulator.client_identity());
    let response = emulator.handle(NOW, &tls, post("Contoso.Example", body));
    let claims = claims(json_of(&response)["access_token"].as_str().unwrap());
    assert_eq!(claims.map()["xms_cc"], json!(["cp1"]));
    assert_eq!(claims.string("tid"), Some(TENANT));
}

#[test]
fn a_renewed_certificate_is_another_binding() {
    let emulator = emulator();
    let first = p256(&emulator, "certbound-demo-app");
    let options = IssueOptions::new("certbound-demo-app").with_key(KeyKind::Existing(first.key_pem.clone()));
    let renewed = emulator.issue_client_certificate(&options).unwrap();
    let leg_1 = Ask { tls: with(MTLS, &first), ..Ask::leg1(&emulator) };
    let assertion = Some((JWT_POP, leg_1.token(&emulator)));
    let leg_2 = Ask { scope: VAULT_SCOPE, assertion, ..leg_1 };
    assert_eq!(leg_2.code(&emulator), 0);
    assert_eq!(Ask { tls: with(MTLS, &renewed), ..leg_2 }.code(&emulator), 500_181);
}

#[test]
fn the_journal_tells_the_two_legs_apart() {
    let emulator = emulator();
    Ask::leg2(&emulator).send(&emulator);
    let journal = emulator.journal();
    let told: Vec<_> = journal
        .iter()
        .map(|entry| {
            (entry.host.as_str(), entry.parameter("client_assertion_type"), entry.parameter("scope"))
        })
        .collect();
    assert_eq!(told, [(MTLS, None, Some(EXCHANGE)), (MTLS, Some(JWT_POP), Some(VAULT_SCOPE))]);
    let thumbprint = Thumbprint::of_der(emulator.client_identity().leaf_der()).x5t_s256();
    assert!(journal.iter().all(|entry| entry.client_certificate.as_deref() == Some(&*thumbprint)));
    emulator.reset();
    assert!(emulator.journal().is_empty());
}

#[test]
fn an_assertion_is_good_for_an_old_key_until_that_key_is_gone() {
    let emulator = emulator();
    let leg_2 = Ask::leg2(&emulator);
    emulator.rotate_keys().unwrap();
    assert_eq!(leg_2.code(&emulator), 0, "the previous key is still published");
    emulator.rotate_keys().unwrap();
    assert_eq!(leg_2.code(&emulator), 700_027);
    let plain = Ask { assertion: leg_2.assertion.map(|(_, it)| (JWT_BEARER, it)), ..Ask::leg1(&emulator) };
    assert_eq!(plain.code(&emulator), 700_027);
}
