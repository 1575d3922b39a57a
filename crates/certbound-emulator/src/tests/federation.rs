//! Assertions of other issuers, by federated credentials. A name such as `s64` contains the number of a security test.

use certbound_core::credential::JWT_BEARER;
use serde_json::json;

use super::signed::{
    EXTERNAL, EXTERNAL_SUBJECT, changed, external, external_body, external_header, with_external_issuer,
    with_external_issuer_and,
};
use super::*;
use crate::world::FederatedCredential;
use crate::world::builtin::{APP_PRINCIPAL, OTHER_TENANT, TARGET_APP};

#[test]
fn s64_a_bound_assertion_works_with_its_certificate_only() {
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
fn s65_an_unbound_assertion_gets_no_bound_token() {
    let emulator = emulator();
    let unbound = Ask::plain(&emulator).token(&emulator);
    let pop = Ask { assertion: Some((JWT_POP, unbound.clone())), ..Ask::leg2(&emulator) };
    assert_eq!(pop.code(&emulator), 392_199);
    assert_eq!(Ask { bound: false, ..pop.clone() }.code(&emulator), 392_199);
    let plain =
        Ask { assertion: bearer(unbound), tls: TlsFacts::without_certificate(LOGIN), bound: false, ..pop };
    assert_eq!(plain.code(&emulator), 0, "plain federation on the ordinary host");
}

/// Returns the credential that Leg 2 of the second application needs.
fn right() -> FederatedCredential {
    FederatedCredential {
        issuer: format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        subject: APP_PRINCIPAL.to_owned(),
        audience: "api://AzureADTokenExchange".to_owned(),
        ..FederatedCredential::default()
    }
}

/// Returns the AADSTS number of Leg 2 of the second application with these credentials, or 0 for a success.
fn leg_2_with(credentials: Vec<FederatedCredential>) -> u64 {
    let emulator =
        emulator_with(|world| world.application_mut(TARGET_APP).unwrap().federated_credentials = credentials);
    Ask { client_id: TARGET_APP, ..Ask::leg2(&emulator) }.code(&emulator)
}

#[test]
fn s68_the_issuer_is_matched_byte_for_byte() {
    assert_eq!([leg_2_with(vec![right()]), leg_2_with(vec![])], [0, 70_025]);
    let issuer = right().issuer;
    for near in [
        issuer.clone() + "/",
        issuer.to_uppercase(),
        issuer.clone() + " ",
        format!(" {issuer}"),
        issuer.replace("login", "l\u{43e}gin"),
        issuer.replace("login.", "login%2e"),
        issuer.replace("https", "http"),
        issuer.replace("/v2.0", ""),
        issuer.replace("microsoftonline.com", "microsoftonline.com:443"),
    ] {
        assert_eq!(
            leg_2_with(vec![FederatedCredential { issuer: near.clone(), ..right() }]),
            700_211,
            "{near}"
        );
    }
    // Now the token, not the credential, has the different spelling.
    let emulator = with_external_issuer();
    for near in [format!("{EXTERNAL}/"), EXTERNAL.to_uppercase(), format!("{EXTERNAL} ")] {
        let body = changed(external_body(), "iss", json!(near));
        assert_eq!(external(external_header(), body).code(&emulator), 700_211, "{near}");
    }
}

#[test]
fn s69_the_subject_is_matched_byte_for_byte() {
    for near in [
        BARE_PRINCIPAL,
        &APP_PRINCIPAL[..8],
        &format!("{APP_PRINCIPAL}0"),
        "*",
        "\u{430}b4d7f52-6e18-4c3a-8f95-21c7d0a9e6b3",
    ] {
        assert_eq!(
            leg_2_with(vec![FederatedCredential { subject: near.to_owned(), ..right() }]),
            700_213,
            "{near}"
        );
    }
    let case = FederatedCredential { subject: APP_PRINCIPAL.to_uppercase(), ..right() };
    assert_eq!(leg_2_with(vec![case]), 7_002_138, "this mistake has its own number");
    let of_two = vec![
        FederatedCredential { subject: BARE_PRINCIPAL.to_owned(), ..right() },
        FederatedCredential { issuer: EXTERNAL.to_owned(), ..right() },
    ];
    assert_eq!(leg_2_with(of_two), 700_213, "each part is right, but of a different credential");
    let emulator = with_external_issuer();
    for (subject, expected) in [
        (json!("repo:Contoso/app:ref:refs/heads/main"), 7_002_138),
        (json!(""), 700_213),
        (Value::Null, 90_014),
        (json!([EXTERNAL_SUBJECT]), 90_014),
        (json!(7), 90_014),
    ] {
        let body = changed(external_body(), "sub", subject.clone());
        assert_eq!(external(external_header(), body).code(&emulator), expected, "{subject}");
    }
    let null = external_body().to_string().replace(&format!("\"{EXTERNAL_SUBJECT}\""), "null");
    let null = external(external_header(), serde_json::from_str(&null).unwrap());
    assert_eq!(null.code(&emulator), 90_014, "null is not a subject");
}

#[test]
fn s70_the_audience_is_one_and_in_uri_form() {
    for (audience, expected) in [
        ("api://AzureADTokenExchangeUSGov", 700_212),
        (exchange_audience(), 700_214),
        ("api://azureadtokenexchange", 700_212),
    ] {
        let near = FederatedCredential { audience: audience.to_owned(), ..right() };
        assert_eq!(leg_2_with(vec![near]), expected, "{audience}");
    }
    let emulator = with_external_issuer();
    for (audience, expected) in [
        (json!(["api://AzureADTokenExchange", "x"]), 700_212),
        (json!(exchange_audience()), 700_212),
        (json!("api://AzureADTokenExchangeX"), 700_212),
        // The token exchange of another cloud.
        (json!("api://AzureADTokenExchangeChina"), 7_002_206),
        (json!("api://AzureADTokenExchangePpe"), 7_002_206),
        // The clouds of the next two audiences have no public hosts.
        (json!("api://AzureADTokenExchangeUSNat"), 7_002_206),
        (json!("api://AzureADTokenExchangeUSSec"), 7_002_206),
    ] {
        let body = changed(external_body(), "aud", audience.clone());
        assert_eq!(external(external_header(), body).code(&emulator), expected, "{audience}");
    }
}

#[test]
fn s71_a_token_that_came_by_federation_cannot_be_exchanged_again() {
    let emulator = emulator();
    let second = Ask { scope: EXCHANGE, ..Ask::leg2(&emulator) };
    let chained = Ask { assertion: Some((JWT_POP, second.token(&emulator))), ..Ask::leg2(&emulator) };
    assert_eq!(chained.code(&emulator), 700_231);
}

#[test]
fn a_token_of_another_issuer_is_taken_for_a_plain_token_only() {
    let emulator = with_external_issuer();
    let right = external(external_header(), external_body());
    assert_eq!(right.code(&emulator), 0);
    let forged = signed_by(emulator.client_identity(), external_header(), external_body());
    assert_eq!(Ask { assertion: bearer(forged), ..right.clone() }.code(&emulator), 700_027, "another key");
    let bound = Ask {
        tls: with(MTLS, emulator.client_identity()),
        bound: true,
        assertion: right.assertion.clone().map(|(_, it)| (JWT_POP, it)),
        ..right
    };
    assert_eq!(bound.code(&emulator), 392_199);
}

#[test]
fn azure_devops_is_no_issuer_for_an_application_of_many_tenants() {
    const DEVOPS: &str = "https://vstoken.dev.azure.com/5a3b1c2d";
    for (tenants, expected) in [(1, 0), (2, 70_052)] {
        let emulator = with_external_issuer_and(|world| {
            world.external_issuers[0].issuer = DEVOPS.to_owned();
            let application = world.application_mut(BARE_APP).unwrap();
            application.federated_credentials[0].issuer = DEVOPS.to_owned();
            if tenants == 2 {
                application.principals.insert(OTHER_TENANT.to_owned(), "z".to_owned());
            }
        });
        let body = changed(external_body(), "iss", json!(DEVOPS));
        assert_eq!(external(external_header(), body).code(&emulator), expected);
    }
}

#[test]
fn s71_a_forged_or_unsuitable_entra_token_is_refused() {
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

    // The emulator's own key signs these tokens. The refused tokens have only one error: their `idtyp` is not `app`.
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

    // A token for a resource is not an assertion, although the emulator signed it.
    let orders = Ask { scope: "api://orders/.default", ..Ask::leg1(&emulator) }.token(&emulator);
    let misused = Ask { assertion: Some((JWT_POP, orders)), ..Ask::leg2(&emulator) };
    assert_eq!(misused.code(&emulator), 700_212);
    let vault = Ask { scope: VAULT_SCOPE, ..Ask::leg1(&emulator) }.token(&emulator);
    assert_eq!(Ask { assertion: Some((JWT_POP, vault)), ..Ask::leg2(&emulator) }.code(&emulator), 700_227);

    // This changes one character of the signature.
    let (start, signature) = leg_1.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let broken = format!("{start}.{other}{}", &signature[1..]);
    assert_eq!(Ask { assertion: Some((JWT_POP, broken)), ..Ask::leg2(&emulator) }.code(&emulator), 700_027);
}

#[test]
fn s71_a_saml_assertion_or_an_encrypted_token_is_no_jwt() {
    let emulator = emulator();
    let saml = "PHNhbWw6QXNzZXJ0aW9uLz4";
    for (text, kind, expected) in [
        (saml, JWT_BEARER, 50_027),
        ("a.b.c.d.e", JWT_POP, 50_027),
        (saml, "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", 7_000_216),
    ] {
        let ask = Ask { assertion: Some((kind, text.to_owned())), bound: false, ..Ask::leg1(&emulator) };
        assert_eq!(ask.code(&emulator), expected, "{text} {kind}");
    }
}

#[test]
fn s73_an_assertion_outside_its_time_is_refused() {
    let emulator = with_external_issuer();
    let now = NOW.as_secs();
    for (name, value, expected) in [
        ("exp", json!(now + 25 * 3_600), 700_024),
        ("exp", json!(now + 24 * 3_600), 0),
        ("exp", json!(now - 301), 700_024),
        ("exp", json!(1e300), 50_027),
        ("exp", Value::Null, 90_014),
        ("nbf", json!(now + 301), 700_024),
        ("nbf", Value::Null, 0),
        // Neither RFC 7523 nor the real service limits the age of an assertion that has not expired.
        ("iat", json!(now - 23 * 3_600), 0),
    ] {
        let body = changed(external_body(), name, value.clone());
        assert_eq!(external(external_header(), body).code(&emulator), expected, "{name} {value}");
    }
}

#[test]
fn s74_the_algorithm_and_the_key_are_the_issuers() {
    let emulator = with_external_issuer();
    for (header, expected) in [
        (json!({ "alg": "none", "kid": "k1" }), 5_002_738),
        (json!({ "alg": "HS256", "kid": "k1" }), 5_002_738),
        (json!({ "alg": "RS384", "kid": "k1" }), 5_002_738),
        (json!({ "alg": "RS256", "kid": "k2" }), 700_027),
        (json!({ "alg": "RS256", "kid": emulator.current_key().unwrap().kid() }), 700_027),
        (json!({ "alg": "RS256", "x5t": "k1" }), 700_027),
        (json!({ "alg": "RS256" }), 5_002_723),
    ] {
        assert_eq!(external(header.clone(), external_body()).code(&emulator), expected, "{header}");
    }
    // This token names Entra as its issuer, but the external issuer's key signs it.
    let entra = changed(external_body(), "iss", json!(right().issuer));
    let entra = changed(entra, "sub", json!(APP_PRINCIPAL));
    let ask = Ask { client_id: TARGET_APP, ..external(external_header(), entra) };
    assert_eq!(ask.code(&emulator), 700_027);
}

#[test]
fn s79_a_token_is_made_for_its_own_request_and_connection() {
    let emulator = emulator();
    let (first, second) = (p256(&emulator, "certbound-demo-app"), p256(&emulator, "certbound-demo-app"));
    let bound_to = |identity: &ClientIdentity| {
        let token = Ask { tls: with(MTLS, identity), ..Ask::leg1(&emulator) }.token(&emulator);
        claims(&token).confirmation().unwrap().map(str::to_owned)
    };
    let thumbprint = |identity: &ClientIdentity| {
        Some(certbound_core::certificate::Thumbprint::of_der(identity.leaf_der()).x5t_s256())
    };
    for identity in [&first, &second, &first] {
        assert_eq!(bound_to(identity), thumbprint(identity));
        let plain = Ask::plain(&emulator).token(&emulator);
        assert_eq!(claims(&plain).confirmation(), Ok(None));
    }
}
