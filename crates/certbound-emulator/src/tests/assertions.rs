use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_core::certificate::Thumbprint;
use serde_json::json;

use super::signed::{body, changed, classic, header};
use super::*;
use crate::world::builtin::{SECRET, SECRET_APP};

#[test]
fn a_self_signed_assertion_is_taken_in_each_of_its_forms() {
    let emulator = emulator();
    let identity = emulator.client_identity();
    let sha256 = json!(Thumbprint::of_der(identity.leaf_der()).x5t_s256());
    let headers = [
        header(identity),
        changed(changed(header(identity), "x5t", Value::Null), "x5t#S256", sha256.clone()),
        changed(
            changed(changed(header(identity), "x5t", Value::Null), "x5t#S256", sha256),
            "alg",
            json!("PS256"),
        ),
        changed(header(identity), "x5c", json!(STANDARD.encode(identity.leaf_der()))),
        // MSAL for Python adds padding.
        changed(header(identity), "x5t", json!(format!("{}=", header(identity)["x5t"].as_str().unwrap()))),
    ];
    for header in headers {
        let response = classic(signed_by(identity, header.clone(), body(LOGIN))).send(&emulator);
        assert_eq!(code(&response), 0, "{header}");
        assert_eq!(json_of(&response)["token_type"], "Bearer");
    }
    let alias = body("login.windows.net");
    assert_eq!(classic(signed_by(identity, header(identity), alias)).code(&emulator), 0);
}

#[test]
fn a_certificate_registered_by_itself_needs_no_x5c() {
    let other = unused_rsa();
    let pem = other.certificate_pem.clone();
    let emulator =
        emulator_with(|world| world.application_mut(APP).unwrap().registered_certificates = vec![pem]);
    let header = changed(header(&other), "x5c", Value::Null);
    assert_eq!(classic(signed_by(&other, header, body(LOGIN))).code(&emulator), 0);
}

#[test]
fn a_self_signed_assertion_that_is_wrong_is_refused_by_number() {
    let emulator = emulator();
    let identity = emulator.client_identity();
    let other = unused_rsa();
    let good = header(identity);
    let sign = |header: Value, claims: Value| classic(signed_by(identity, header, claims)).code(&emulator);
    let claims = |name: &str, to: Value| sign(good.clone(), changed(body(LOGIN), name, to));
    let heads = |name: &str, to: Value| sign(changed(good.clone(), name, to), body(LOGIN));
    let now = NOW.as_secs();
    let rows = [
        ("another key", 700_027, classic(signed_by(&other, good.clone(), body(LOGIN))).code(&emulator)),
        (
            "another's certificate",
            700_027,
            classic(signed_by(&other, header(&other), body(LOGIN))).code(&emulator),
        ),
        ("the subject, self-signed", 700_027, {
            let options =
                IssueOptions::new("certbound-demo-app").with_key(KeyKind::Existing(other.key_pem.clone()));
            let forged = emulator.self_signed_client_certificate(&options).unwrap();
            classic(signed_by(&forged, header(&forged), body(LOGIN))).code(&emulator)
        }),
        ("another key, PSS", 5_002_730, {
            let pss = changed(good.clone(), "alg", json!("PS256"));
            classic(signed_by(&other, pss, body(LOGIN))).code(&emulator)
        }),
        ("no x5c", 700_027, heads("x5c", Value::Null)),
        ("x5t of another", 700_027, heads("x5t", header(&other)["x5t"].clone())),
        ("no hint at the key", 5_002_723, heads("x5t", Value::Null)),
        ("HS256", 5_002_738, heads("alg", json!("HS256"))),
        ("none", 5_002_738, heads("alg", json!("none"))),
        ("crit", 50_027, heads("crit", json!(["x"]))),
        ("no iss", 90_014, claims("iss", Value::Null)),
        ("no sub", 90_014, claims("sub", Value::Null)),
        ("no aud", 90_014, claims("aud", Value::Null)),
        ("no exp", 90_014, claims("exp", Value::Null)),
        ("exp is no time", 50_027, claims("exp", json!("soon"))),
        ("expired", 700_024, claims("exp", json!(now - 301))),
        ("just inside the leeway", 0, claims("exp", json!(now - 300))),
        ("a fraction of a second", 0, claims("exp", json!(now as f64 + 60.25))),
        ("a time before all times", 50_027, claims("exp", json!(-1.5))),
        ("not yet", 700_024, claims("nbf", json!(now + 301))),
        ("for ever", 700_024, claims("exp", json!(now + 3_000_000))),
        ("another application", 700_021, claims("sub", json!(SECRET_APP))),
        ("another issuer", 700_021, claims("iss", json!(SECRET_APP))),
        ("another audience", 700_023, claims("aud", json!("https://example.com/token"))),
        (
            "another tenant",
            700_023,
            claims("aud", json!("https://login.microsoftonline.com/fabrikam.example/oauth2/v2.0/token")),
        ),
        ("two audiences", 700_023, claims("aud", json!([body(LOGIN)["aud"], "https://example.com"]))),
        ("the mutual-TLS audience", 50_171, sign(good.clone(), body(MTLS))),
    ];
    for (name, expected, found) in rows {
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_secret_never_leads_to_a_bound_token() {
    let emulator = emulator();
    let body = form(&[
        ("client_id", SECRET_APP),
        ("client_secret", SECRET),
        ("scope", VAULT_SCOPE),
        ("grant_type", "client_credentials"),
        ("token_type", "mtls_pop"),
    ]);
    for (host, expected) in [(LOGIN, 392_200), (MTLS, 392_189)] {
        let tls = with(host, emulator.client_identity());
        assert_eq!(code(&emulator.handle(NOW, &tls, post(TENANT, body.clone()))), expected, "{host}");
    }
}
