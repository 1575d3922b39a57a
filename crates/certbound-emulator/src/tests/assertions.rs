use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use certbound_core::certificate::Thumbprint;
use certbound_core::credential::JWT_BEARER;
use serde_json::json;

use super::*;
use crate::world::FederatedCredential;
use crate::world::builtin::{APP_PRINCIPAL, SECRET, SECRET_APP, TARGET_APP};

const EXTERNAL: &str = "https://issuer.example";

/// A self-signed assertion as MSAL makes it.
fn header(identity: &ClientIdentity) -> Value {
    let x5t = URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, identity.leaf_der()));
    let x5c: Vec<String> = identity.chain_der.iter().map(|der| STANDARD.encode(der)).collect();
    json!({ "alg": "RS256", "typ": "JWT", "x5t": x5t, "x5c": x5c })
}

fn body(host: &str) -> Value {
    json!({
        "aud": format!("https://{host}/{TENANT}/oauth2/v2.0/token"),
        "iss": APP,
        "sub": APP,
        "jti": "1",
        "nbf": NOW.as_secs(),
        "exp": NOW.as_secs() + 600,
    })
}

fn classic<'a>(assertion: String) -> Ask<'a> {
    Ask {
        tls: TlsFacts::without_certificate(LOGIN),
        now: NOW,
        tenant: TENANT,
        client_id: APP,
        scope: VAULT_SCOPE,
        bound: false,
        assertion: bearer(assertion),
    }
}

fn changed(mut value: Value, name: &str, to: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    match to {
        Value::Null => drop(members.remove(name)),
        to => drop(members.insert(name.to_owned(), to)),
    }
    value
}

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
        // As MSAL for Python pads it.
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
fn bearer_over_mutual_tls_needs_assertion_and_connection_of_one_certificate() {
    let emulator = emulator();
    let identity = emulator.client_identity();
    let assertion = signed_by(identity, header(identity), body(MTLS));
    let ask = Ask { tls: with(MTLS, identity), ..classic(assertion) };
    let body_of = json_of(&ask.send(&emulator));
    assert_eq!(body_of["token_type"], "Bearer");
    assert_eq!(claims(body_of["access_token"].as_str().unwrap()).map().get("cnf"), None);
    let other = Ask { tls: with(MTLS, &p256(&emulator, "certbound-demo-app")), ..ask.clone() };
    assert_eq!(other.code(&emulator), 500_181);
    let nobody = Ask { tls: TlsFacts::without_certificate(MTLS), ..ask.clone() };
    assert_eq!(nobody.code(&emulator), 392_200);
    assert_eq!(Ask { bound: true, ..ask }.code(&emulator), 392_199);
}

#[test]
fn a_bound_assertion_works_with_its_certificate_only() {
    let emulator = emulator();
    let leg_2 = Ask::leg2(&emulator);
    let thief = p256(&emulator, "certbound-demo-app");
    let as_bearer = leg_2.assertion.clone().map(|(_, it)| (JWT_BEARER, it));
    let ordinary = TlsFacts::without_certificate(LOGIN);
    let rows = [
        ("right", 0, leg_2.clone()),
        ("another certificate", 500_181, Ask { tls: with(MTLS, &thief), ..leg_2.clone() }),
        ("no certificate", 392_200, Ask { tls: TlsFacts::without_certificate(MTLS), ..leg_2.clone() }),
        ("as bearer, bound token asked", 392_199, Ask { assertion: as_bearer.clone(), ..leg_2.clone() }),
        (
            "as bearer on the ordinary host",
            50_171,
            Ask { tls: ordinary, bound: false, assertion: as_bearer.clone(), ..leg_2.clone() },
        ),
        (
            "as bearer with another certificate",
            500_181,
            Ask { tls: with(MTLS, &thief), bound: false, assertion: as_bearer, ..leg_2.clone() },
        ),
        ("expired", 700_024, Ask { now: later(3_600 + 301), ..leg_2.clone() }),
        ("within the leeway", 0, Ask { now: later(3_600 + 300), ..leg_2 }),
    ];
    for (name, expected, ask) in rows {
        assert_eq!(ask.code(&emulator), expected, "{name}");
    }
}

#[test]
fn an_unbound_assertion_gets_no_bound_token() {
    let emulator = emulator();
    let unbound = Ask { bound: false, ..Ask::leg1(&emulator) }.token(&emulator);
    let pop = Ask { assertion: Some((JWT_POP, unbound.clone())), ..Ask::leg2(&emulator) };
    assert_eq!(pop.code(&emulator), 392_199);
    assert_eq!(Ask { bound: false, ..pop.clone() }.code(&emulator), 392_199);
    let plain =
        Ask { assertion: bearer(unbound), tls: TlsFacts::without_certificate(LOGIN), bound: false, ..pop };
    assert_eq!(plain.code(&emulator), 0, "plain federation on the ordinary host");
}

#[test]
fn a_token_that_came_by_federation_cannot_be_exchanged_again() {
    let emulator = emulator();
    let second = Ask { scope: EXCHANGE, ..Ask::leg2(&emulator) };
    let chained = Ask { assertion: Some((JWT_POP, second.token(&emulator))), ..Ask::leg2(&emulator) };
    assert_eq!(chained.code(&emulator), 700_231);
}

#[test]
fn each_part_of_a_federated_credential_is_matched_exactly() {
    let right = || FederatedCredential {
        issuer: format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        subject: APP_PRINCIPAL.to_owned(),
        audience: "api://AzureADTokenExchange".to_owned(),
    };
    let cases: [(&str, u64, Vec<FederatedCredential>); 11] = [
        ("right", 0, vec![right()]),
        ("none at all", 70_025, vec![]),
        (
            "issuer with a slash",
            700_211,
            vec![FederatedCredential { issuer: right().issuer + "/", ..right() }],
        ),
        (
            "issuer in another case",
            700_211,
            vec![FederatedCredential { issuer: right().issuer.to_uppercase(), ..right() }],
        ),
        (
            "issuer with a space",
            700_211,
            vec![FederatedCredential { issuer: right().issuer + " ", ..right() }],
        ),
        (
            "another subject",
            700_213,
            vec![FederatedCredential { subject: BARE_PRINCIPAL.to_owned(), ..right() }],
        ),
        (
            "subject is a prefix",
            700_213,
            vec![FederatedCredential { subject: APP_PRINCIPAL[..8].to_owned(), ..right() }],
        ),
        ("wildcard", 700_213, vec![FederatedCredential { subject: "*".to_owned(), ..right() }]),
        (
            "audience of another cloud",
            700_212,
            vec![FederatedCredential { audience: "api://AzureADTokenExchangeUSGov".to_owned(), ..right() }],
        ),
        (
            "audience as a GUID",
            700_214,
            vec![FederatedCredential { audience: exchange_audience().to_owned(), ..right() }],
        ),
        (
            "each part right, but of two credentials",
            700_213,
            vec![
                FederatedCredential { subject: BARE_PRINCIPAL.to_owned(), ..right() },
                FederatedCredential { issuer: EXTERNAL.to_owned(), ..right() },
            ],
        ),
    ];
    for (name, expected, credentials) in cases {
        let emulator = emulator_with(|world| {
            world.application_mut(TARGET_APP).unwrap().federated_credentials = credentials
        });
        let ask = Ask { client_id: TARGET_APP, ..Ask::leg2(&emulator) };
        assert_eq!(ask.code(&emulator), expected, "{name}");
    }
}

/// A world that trusts tokens signed by the key of an otherwise unused certificate.
fn with_external_issuer() -> Emulator {
    let der = unused_rsa().leaf_der().to_vec();
    let key = jws::PublicKey::from_certificate(&der).unwrap();
    let (n, e) = key.rsa_components().unwrap();
    let jwk = map(json!({
        "kty": "RSA", "kid": "k1", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e),
    }));
    emulator_with(|world| {
        world.external_issuers =
            vec![crate::world::ExternalIssuer { issuer: EXTERNAL.to_owned(), keys: vec![jwk] }];
        world.application_mut(BARE_APP).unwrap().federated_credentials = vec![FederatedCredential {
            issuer: EXTERNAL.to_owned(),
            subject: "repo:contoso/app:ref:refs/heads/main".to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
        }];
    })
}

#[test]
fn a_token_of_another_issuer_is_taken_for_a_plain_token_only() {
    let emulator = with_external_issuer();
    let now = NOW.as_secs();
    let header = json!({ "alg": "RS256", "kid": "k1" });
    let body = json!({
        "iss": EXTERNAL, "sub": "repo:contoso/app:ref:refs/heads/main", "aud": "api://AzureADTokenExchange",
        "nbf": now, "exp": now + 600,
    });
    let key = unused_rsa();
    let ask =
        |header: Value, body: Value| Ask { client_id: BARE_APP, ..classic(signed_by(&key, header, body)) };
    let claims = |name: &str, to: Value| ask(header.clone(), changed(body.clone(), name, to)).code(&emulator);
    let rows = [
        ("right", 0, ask(header.clone(), body.clone()).code(&emulator)),
        ("sub in another case", 700_213, claims("sub", json!("repo:Contoso/app:ref:refs/heads/main"))),
        ("more audiences", 700_212, claims("aud", json!(["api://AzureADTokenExchange", "x"]))),
        ("audience as a GUID", 700_212, claims("aud", json!(exchange_audience()))),
        ("sub is a list", 90_014, claims("sub", json!(["repo:contoso/app:ref:refs/heads/main"]))),
        ("unknown key", 700_027, ask(json!({ "alg": "RS256", "kid": "k2" }), body.clone()).code(&emulator)),
        ("PS256", 5_002_738, ask(json!({ "alg": "PS256", "kid": "k1" }), body.clone()).code(&emulator)),
        ("no key id", 5_002_723, ask(json!({ "alg": "RS256" }), body.clone()).code(&emulator)),
        ("expired", 700_024, claims("exp", json!(now - 301))),
        (
            "another key",
            700_027,
            Ask {
                client_id: BARE_APP,
                ..classic(signed_by(emulator.client_identity(), header.clone(), body.clone()))
            }
            .code(&emulator),
        ),
        (
            "for a bound token",
            392_199,
            Ask {
                tls: with(MTLS, emulator.client_identity()),
                bound: true,
                assertion: Some((JWT_POP, signed_by(&key, header.clone(), body.clone()))),
                ..ask(header.clone(), body.clone())
            }
            .code(&emulator),
        ),
    ];
    for (name, expected, found) in rows {
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_forged_or_unsuitable_entra_token_is_refused() {
    let emulator = emulator();
    let leg_1 = Ask::leg1(&emulator).token(&emulator);
    let forged = |change: &dyn Fn(Value) -> Value| {
        let body = change(Value::Object(claims(&leg_1).map().clone()));
        let kid = UnverifiedJws::parse(&leg_1).unwrap().header().kid().unwrap().to_owned();
        let token = signed_by(&unused_rsa(), json!({ "alg": "RS256", "kid": kid }), body);
        Ask { assertion: Some((JWT_POP, token)), ..Ask::leg2(&emulator) }.code(&emulator)
    };
    assert_eq!(forged(&|body| body), 700_027);
    let v1 = json!(format!("https://sts.windows.net/{TENANT}/"));
    assert_eq!(forged(&|body| changed(body, "iss", v1.clone())), 700_227);

    // Really ours, and everything right but that it is an application's.
    let key = emulator.current_key().unwrap();
    let resigned = |body: Value| {
        let token = key.sign(&map(json!({ "alg": "RS256", "kid": key.kid() })), &map(body)).unwrap();
        let assertion = Some((JWT_POP, token.expose().to_owned()));
        Ask { assertion, ..Ask::leg2(&emulator) }.code(&emulator)
    };
    let body = Value::Object(claims(&leg_1).map().clone());
    assert_eq!(resigned(body.clone()), 0);
    assert_eq!(resigned(changed(body.clone(), "idtyp", json!("user"))), 700_229);
    assert_eq!(resigned(changed(body, "idtyp", Value::Null)), 700_229);

    // A token for a resource, really ours, is no assertion.
    let orders = Ask { scope: "api://orders/.default", ..Ask::leg1(&emulator) }.token(&emulator);
    let misused = Ask { assertion: Some((JWT_POP, orders)), ..Ask::leg2(&emulator) };
    assert_eq!(misused.code(&emulator), 700_212);
    let vault = Ask { scope: VAULT_SCOPE, ..Ask::leg1(&emulator) }.token(&emulator);
    assert_eq!(Ask { assertion: Some((JWT_POP, vault)), ..Ask::leg2(&emulator) }.code(&emulator), 700_227);

    // One changed character anywhere.
    let (start, signature) = leg_1.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let broken = format!("{start}.{other}{}", &signature[1..]);
    assert_eq!(Ask { assertion: Some((JWT_POP, broken)), ..Ask::leg2(&emulator) }.code(&emulator), 700_027);
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
