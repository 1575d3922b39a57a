//! The content of a managed identity's token, and the cloud of the machine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::environment::Cloud;

use super::requests::{issued, right};
use super::*;
use crate::world::builtin::{GRAPH, SYSTEM_IDENTITY, VAULT};

const MACHINE: &str = "/subscriptions/6c1f0e4a-2d8b-4937-8a5e-f30b7d91c246/resourcegroups/demo/providers/\
     Microsoft.Compute/virtualMachines/demo";

/// The request of a managed identity for a Bearer token over mutual TLS, as the protocol describes it.
const GOLDEN: &str = include_str!("../../../../../testdata/wire/machine-bearer.form");

/// Returns the facts of a connection to `host` with a certificate that the metadata service issued.
fn with_issued(emulator: &Emulator, host: &str) -> TlsFacts {
    let answer = issued(emulator, "", &right());
    let certificate = STANDARD.decode(answer["certificate"].as_str().unwrap()).unwrap();
    TlsFacts::with_certificate(host, vec![certificate])
}

/// Sends a request for a bound token with an issued certificate, and returns the answer of the token service.
fn bound(emulator: &Emulator, host: &str, resource: &str) -> Response<Bytes> {
    let body = form(&[
        ("client_id", SYSTEM_IDENTITY),
        ("scope", &format!("{resource}/.default")),
        ("grant_type", "client_credentials"),
        ("token_type", "mtls_pop"),
    ]);
    emulator.handle(NOW, &with_issued(emulator, host), post(TENANT, body))
}

#[test]
fn a_plain_token_lives_a_day_and_names_its_identity() {
    let emulator = emulator();
    let body = json_of(&send(&emulator, get(TOKEN), ""));
    let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "access_token",
        "client_id",
        "expires_in",
        "expires_on",
        "ext_expires_in",
        "not_before",
        "refresh_token",
        "resource",
        "token_type",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(body.as_object().unwrap().values().all(Value::is_string), "{body}");
    assert_eq!((&body["expires_in"], &body["ext_expires_in"]), (&json!("86399"), &json!("86399")));
    assert_eq!(body["expires_on"], (NOW.as_secs() + 86_400).to_string());
    assert_eq!(body["not_before"], (NOW.as_secs() - 300).to_string());
    assert_eq!(body["refresh_token"], "");
    let found = claims(body["access_token"].as_str().unwrap());
    assert_eq!(
        (found.number("exp"), found.number("iat")),
        (Some(NOW.as_secs() + 86_400), Some(NOW.as_secs() - 300))
    );
    assert_eq!((found.string("xms_mirid"), found.string("xms_az_rid")), (Some(MACHINE), None));

    let path = format!("{TOKEN}&client_id={USER_IDENTITY}");
    let body = json_of(&send(&emulator, get(&path), ""));
    let found = claims(body["access_token"].as_str().unwrap());
    assert_eq!(
        (found.string("xms_mirid"), found.string("xms_az_rid")),
        (Some(USER_IDENTITY_RESOURCE), Some(MACHINE))
    );
}

#[test]
fn a_bound_token_of_a_machine_lives_as_long_and_says_when_to_ask_again() {
    let emulator = emulator();
    let body = json_of(&bound(&emulator, "westus3.mtlsauth.microsoft.com", VAULT));
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("mtls_pop"), &json!(86_399)), "{body}");
    assert_eq!(body["refresh_in"], 43_200);
    let found = claims(body["access_token"].as_str().unwrap());
    assert_eq!(
        (found.string("xms_mirid"), found.number("exp")),
        (Some(MACHINE), Some(NOW.as_secs() + 86_400))
    );
    // The usual lifetime of one hour is too short for `refresh_in`, and an application's token names no machine.
    let body = json_of(&Ask::leg1(&emulator).send(&emulator));
    assert_eq!((&body["expires_in"], body.get("refresh_in")), (&json!(3_599), None));
    assert!(!claims(body["access_token"].as_str().unwrap()).contains("xms_mirid"));
}

#[test]
fn s86_a_bearer_token_over_mutual_tls_is_for_the_machines_certificate_and_has_no_cnf() {
    let emulator = emulator();
    let golden = GOLDEN.replace("11111111-2222-3333-4444-555555555555", SYSTEM_IDENTITY);
    let regional = "westus3.mtlsauth.microsoft.com";
    let send =
        |tls: &TlsFacts, body: &str| emulator.handle(NOW, tls, post(TENANT, Bytes::from(body.to_owned())));
    for value in ["bearer", "Bearer", "BEARER"] {
        let body = golden.replace("token_type=bearer", &format!("token_type={value}"));
        for host in [regional, MTLS] {
            let body = json_of(&send(&with_issued(&emulator, host), &body));
            assert_eq!(
                (&body["token_type"], &body["expires_in"]),
                (&json!("Bearer"), &json!(86_399)),
                "{body}"
            );
            let found = claims(body["access_token"].as_str().unwrap());
            assert!(!found.contains("cnf") && !found.contains("xms_tbflags"), "{value} {host}");
            assert_eq!(found.string("xms_mirid"), Some(MACHINE));
        }
    }
    // The token service also issues this token for a resource that refuses bound tokens.
    let other = golden.replace("graph.microsoft.com", "management.azure.com");
    assert_eq!(code(&send(&with_issued(&emulator, regional), &other)), 0);
    let bound = other.replace("token_type=bearer", "token_type=mtls_pop");
    assert_eq!(code(&send(&with_issued(&emulator, regional), &bound)), 392_196);

    let unnamed = golden.replace("&token_type=bearer", "");
    let stranger = golden.replace(SYSTEM_IDENTITY, USER_IDENTITY);
    for (tls, body, expected) in [
        (with_issued(&emulator, regional), &unnamed, 7_000_218),
        (with_issued(&emulator, regional), &stranger, 700_030),
        (with(MTLS, emulator.client_identity()), &golden, 7_000_218),
        (TlsFacts::without_certificate(MTLS), &golden, 392_200),
        (TlsFacts::without_certificate(LOGIN), &golden, 9_002_313),
    ] {
        assert_eq!(code(&send(&tls, body)), expected, "{body}");
    }
}

#[test]
fn an_application_with_an_assertion_may_name_the_type_of_its_bearer_token_on_mutual_tls_hosts() {
    let emulator = emulator();
    let identity = emulator.client_identity();
    let signed = |host| {
        let assertion = signed_by(identity, signed::header(identity), signed::body(host));
        signed::classic(assertion)
    };
    let by_signature = Ask { tls: with(MTLS, identity), ..signed(MTLS) };
    let second_leg = Ask { bound: false, ..Ask::leg2(&emulator) };
    for ask in [by_signature, second_leg] {
        for value in ["bearer", "Bearer"] {
            let body = [&ask.body()[..], format!("&token_type={value}").as_bytes()].concat();
            let body = json_of(&emulator.handle(NOW, &ask.tls, post(TENANT, Bytes::from(body))));
            assert_eq!(body["token_type"], "Bearer", "{body}");
            assert!(!claims(body["access_token"].as_str().unwrap()).contains("cnf"));
        }
    }
    let plain = [&signed(LOGIN).body()[..], b"&token_type=bearer"].concat();
    let response = emulator.handle(NOW, &signed(LOGIN).tls, post(TENANT, Bytes::from(plain)));
    assert_eq!(code(&response), 9_002_313);
}

#[test]
fn the_world_sets_the_lifetime_of_every_token_and_each_suggests_a_new_one() {
    let emulator = emulator_with(|world| world.token_lifetime_seconds = Some(240));
    let requests = [
        json_of(&bound(&emulator, "westus3.mtlsauth.microsoft.com", VAULT)),
        json_of(&Ask::leg1(&emulator).send(&emulator)),
    ];
    for body in requests {
        assert_eq!((&body["expires_in"], &body["refresh_in"]), (&json!(239), &json!(120)), "{body}");
        let found = claims(body["access_token"].as_str().unwrap());
        assert_eq!(found.number("exp"), Some(NOW.as_secs() + 240));
    }
    // The metadata service has no `refresh_in`.
    let body = json_of(&send(&emulator, get(TOKEN), ""));
    assert_eq!((&body["expires_in"], body.get("refresh_in")), (&json!("239"), None), "{body}");
}

#[test]
fn a_machine_in_another_cloud_has_that_clouds_hosts_tokens_and_resources() {
    let emulator = emulator_with(|world| {
        world.machine.cloud = Cloud::UsGovernment;
        world.machine.location = "usgovvirginia".to_owned();
    });
    let answer = issued(&emulator, "", &right());
    let host = "usgovvirginia.mtlsauth.microsoftonline.us";
    assert_eq!(answer["mtls_authentication_endpoint"], format!("https://{host}"));
    let body = json_of(&bound(&emulator, host, Cloud::UsGovernment.vault_uri()));
    assert_eq!(body["token_type"], "mtls_pop", "{body}");
    // The other clouds do not recognize the certificate.
    assert_eq!(code(&bound(&emulator, "mtlsauth.microsoft.com", VAULT)), 392_189);

    let plain = |resource: &str| {
        let path = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}");
        send(&emulator, get(&path), "")
    };
    let exchange = json_of(&plain(Cloud::UsGovernment.exchange_uri().unwrap()));
    let found = claims(exchange["access_token"].as_str().unwrap());
    let issuer = format!("https://login.microsoftonline.us/{TENANT}/v2.0");
    assert_eq!(found.string("iss"), Some(issuer.as_str()));
    let elsewhere = json_of(&plain("api://AzureADTokenExchange"));
    assert!(elsewhere["error_description"].as_str().unwrap().starts_with("AADSTS7002206"), "{elsewhere}");
    for elsewhere in [VAULT, GRAPH] {
        let response = plain(elsewhere);
        assert_eq!(
            (response.status().as_u16(), &json_of(&response)["error"]),
            (400, &json!("invalid_resource"))
        );
    }
    let compute = json_of(&send(&emulator, get(COMPUTE), ""));
    assert_eq!(compute["azEnvironment"], "AzureUSGovernmentCloud");
}

#[test]
fn a_world_file_names_the_machines_cloud() {
    let text = |cloud: &str| {
        let world = World::built_in().to_toml().unwrap();
        assert!(world.contains("cloud = \"public\""));
        world.replace("cloud = \"public\"", &format!("cloud = \"{cloud}\""))
    };
    assert_eq!(World::from_toml(&text("china")).unwrap().machine.cloud, Cloud::China);
    let error = World::from_toml(&text("moon")).unwrap_err().to_string();
    assert!(error.contains("us_government"), "{error}");
}

#[test]
fn a_disabled_identity_gets_no_token_of_any_kind() {
    let emulator = emulator_with(|world| world.application_mut(SYSTEM_IDENTITY).unwrap().enabled = false);
    let refused = send(&emulator, get(TOKEN), "");
    assert_eq!(refused.status(), 400);
    assert!(json_of(&refused)["error_description"].as_str().unwrap().starts_with("AADSTS7000112"));
    assert_eq!(code(&bound(&emulator, MTLS, VAULT)), 7_000_112);
}

/// No resource accepts a token whose key was removed.
#[test]
fn a_cached_token_ends_with_its_key() {
    let emulator = emulator();
    let token = || json_of(&send(&emulator, get(TOKEN), ""))["access_token"].clone();
    let first = token();
    emulator.rotate_keys().unwrap();
    assert_eq!(token(), first, "its key is still published");
    emulator.rotate_keys().unwrap();
    assert_ne!(token(), first);
}

#[test]
fn a_machine_can_have_only_the_id_of_its_scale_set() {
    let emulator = emulator_with(|world| {
        world.machine.vm_id = String::new();
        world.machine.vmss_id = "fedcba98".to_owned();
    });
    let unit = &json_of(&send(&emulator, get(METADATA), ""))["cuId"];
    assert_eq!(*unit, json!({ "vmssId": "fedcba98" }));
}
