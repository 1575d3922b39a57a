//! External issuers that the emulator itself serves.

use certbound_core::jws::{Algorithm, PublicKey};
use serde_json::json;

use super::signed::classic;
use super::*;
use crate::world::{ExternalIssuer, FederatedCredential};

const HOST: &str = "tokens.example";
const ONE: &str = "https://tokens.example/one";
/// A second issuer on the same host. Its name ends in a slash, as some real names do.
const TWO: &str = "https://tokens.example/";
const SUBJECT: &str = "repo:contoso/app";

fn with_two_issuers() -> Emulator {
    emulator_with(|world| {
        let served = |issuer: &str| ExternalIssuer {
            issuer: issuer.to_owned(),
            served: true,
            ..ExternalIssuer::default()
        };
        world.external_issuers = vec![served(ONE), served(TWO)];
        world.application_mut(BARE_APP).unwrap().federated_credentials = vec![FederatedCredential {
            issuer: ONE.to_owned(),
            subject: SUBJECT.to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
            ..FederatedCredential::default()
        }];
        let mut checked = world.clone();
        checked.applications.retain(|it| it.id != BARE_APP);
        assert_eq!(checked.check(), Ok(()));
    })
}

fn ask(emulator: &Emulator, method: &str, path: &str, body: &[(&str, &str)]) -> Response<Bytes> {
    let request = Request::builder().method(method).uri(path).body(form(body)).unwrap();
    emulator.handle(NOW, &TlsFacts::without_certificate(HOST), request)
}

/// Returns a token of the issuer at this path.
fn minted(emulator: &Emulator, path: &str, body: &[(&str, &str)]) -> String {
    let response = ask(emulator, "POST", &format!("{path}/token"), body);
    assert_eq!(response.headers()["content-type"], "application/jwt", "{response:?}");
    String::from_utf8(response.body().to_vec()).unwrap()
}

fn exchange(emulator: &Emulator, assertion: String) -> u64 {
    Ask { client_id: BARE_APP, ..classic(assertion) }.code(emulator)
}

#[test]
fn its_token_proves_an_application_without_any_network() {
    let emulator = with_two_issuers();
    let token = minted(&emulator, "/one", &[("sub", SUBJECT)]);
    let request = post(TENANT, Ask { client_id: BARE_APP, ..classic(token.clone()) }.body());
    assert_eq!(emulator.issuer_to_ask(NOW, &request), None, "nothing is fetched");
    assert_eq!(exchange(&emulator, token), 0);
    for (body, expected) in [
        (vec![("sub", "repo:contoso/other")], 700_213),
        (vec![("sub", SUBJECT), ("aud", "api://another")], 700_212),
    ] {
        assert_eq!(exchange(&emulator, minted(&emulator, "/one", &body)), expected);
    }
    assert_eq!(exchange(&emulator, minted(&emulator, "", &[("sub", SUBJECT)])), 700_211, "the other issuer");
}

#[test]
fn s74_no_issuers_key_is_good_for_another() {
    let emulator = with_two_issuers();
    let kid = |token: &str| UnverifiedJws::parse(token).unwrap().header().kid().unwrap().to_owned();
    let (one, two) =
        (minted(&emulator, "/one", &[("sub", SUBJECT)]), minted(&emulator, "", &[("sub", SUBJECT)]));
    let entra = emulator.current_key().unwrap();
    assert!(kid(&one) != kid(&two) && kid(&one) != entra.kid());
    // These tokens have the claims of the first issuer, but Entra's own key signs them. The headers name the keys of
    // Entra and of both issuers.
    let body = Value::Object(claims(&one).map().clone());
    for name in [entra.kid(), &kid(&two), &kid(&one)] {
        let forged = entra.sign(&map(json!({ "alg": "RS256", "kid": name })), &map(body.clone())).unwrap();
        assert_eq!(exchange(&emulator, forged.expose().to_owned()), 700_027, "{name}");
    }
}

#[test]
fn its_metadata_leads_to_the_keys_that_verify_its_tokens() {
    let emulator = with_two_issuers();
    for (issuer, path) in [(ONE, "/one"), (TWO, "")] {
        let found = ask(&emulator, "GET", &format!("{path}/.well-known/openid-configuration"), &[]);
        let found = json_of(&found);
        assert_eq!(found["issuer"], issuer);
        let keys = found["jwks_uri"].as_str().unwrap().strip_prefix("https://tokens.example").unwrap();
        let keys = json_of(&ask(&emulator, "GET", keys, &[]));
        let key = PublicKey::from_jwk(keys["keys"][0].as_object().unwrap()).unwrap();
        let token = minted(&emulator, path, &[("sub", "a"), ("job_workflow_ref", "w")]);
        let jws = UnverifiedJws::parse(&token).unwrap();
        assert!(jws.check_signature([&key], &[Algorithm::Rs256]).is_ok());
        assert_eq!(claims(&token).string("iss"), Some(issuer));
        assert_eq!(claims(&token).string("job_workflow_ref"), Some("w"));
    }
}

#[test]
fn its_tokens_outlive_one_rotation() {
    let emulator = with_two_issuers();
    let token = minted(&emulator, "/one", &[("sub", SUBJECT)]);
    emulator.rotate_keys().unwrap();
    assert_eq!(exchange(&emulator, token.clone()), 0, "still published");
    assert_eq!(exchange(&emulator, minted(&emulator, "/one", &[("sub", SUBJECT)])), 0, "the new key");
    emulator.rotate_keys().unwrap();
    assert_eq!(exchange(&emulator, token), 700_027);
}

#[test]
fn what_it_does_not_understand_it_refuses() {
    let emulator = with_two_issuers();
    for (method, path, body, expected) in [
        ("POST", "/one/token", vec![], 400),
        ("POST", "/one/token", vec![("sub", "a"), ("iss", "https://evil.example")], 400),
        ("POST", "/one/token", vec![("sub", "a"), ("exp", "9999999999")], 400),
        ("POST", "/one/token", vec![("sub", "a"), ("sub", "b")], 400),
        ("GET", "/one/token", vec![], 405),
        ("POST", "/one/keys", vec![], 405),
        ("GET", "/three/keys", vec![], 404),
        ("GET", "/one", vec![], 404),
    ] {
        assert_eq!(
            ask(&emulator, method, path, &body).status().as_u16(),
            expected,
            "{method} {path} {body:?}"
        );
    }
}
