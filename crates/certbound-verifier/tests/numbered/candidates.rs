//! Cases 29, 55 and 57 to 59: the keys by which a token with a certain `kid` is verified.

use certbound_verifier::{Algorithm, Authorization, FetchError, Issuer, KeySet, Scheme, Verifier};
use serde_json::{Value, json};

use crate::keys::{At, Documents, JWKS, METADATA, jwk, of_now, verifier};
use crate::support::{AUDIENCE, KID, NOW, Token, base64, client, code, der, issuer, token};

/// A key that signed no token of these tests.
fn stranger(kid: Option<&str>) -> Value {
    let key = certbound_verifier::PublicKey::from_certificate(&der("rsa.pem")).unwrap();
    let (n, e) = key.rsa_components().unwrap();
    named(json!({ "kty": "RSA", "n": base64(n), "e": base64(e) }), kid)
}

/// The key that signed the tokens of these tests.
fn right(kid: Option<&str>) -> Value {
    let mut key = jwk("");
    key.as_object_mut().unwrap().remove("kid");
    named(key, kid)
}

fn named(mut key: Value, kid: Option<&str>) -> Value {
    if let Some(kid) = kid {
        key.as_object_mut().unwrap().insert("kid".to_owned(), json!(kid));
    }
    key
}

fn with_kid(kid: Option<&str>) -> Token {
    let mut token = token();
    match kid {
        Some(kid) => token.header("kid", json!(kid)),
        None => {
            token.header.remove("kid");
            token
        }
    }
}

fn decide(keys: &[Value], kid: Option<&str>) -> &'static str {
    let document = json!({ "keys": keys }).to_string();
    let keys = KeySet::of_jwks(&issuer(), document.as_bytes()).unwrap();
    let token = with_kid(kid).sign();
    let decision =
        crate::support::verifier().check(&keys, &Authorization::new(Scheme::MtlsPop, &token), &client(), NOW);
    code(decision)
}

#[test]
fn v59_the_cap_comes_after_the_filter() {
    let nameless = [vec![stranger(None); 4], vec![right(None)]].concat();
    for kid in [None, Some("any")] {
        assert_eq!(decide(&nameless, kid), "accepted", "the right one is the fifth");
    }
    // The limit of eight keys does not count keys for other algorithms or of other issuers.
    let other_algorithm = json!({ "kty": "RSA", "alg": "PS256", "n": stranger(None)["n"], "e": "AQAB" });
    let mut of_another = stranger(None);
    of_another.as_object_mut().unwrap().insert("issuer".to_owned(), json!("https://evil.example/"));
    let many = [vec![other_algorithm; 20], vec![of_another; 20], vec![stranger(None); 7], vec![right(None)]];
    assert_eq!(decide(&many.concat(), None), "accepted");
    assert_eq!(decide(&[vec![stranger(None); 8], vec![right(None)]].concat(), None), "bad_signature");
}

#[test]
fn v29_names_decide_first_and_keys_without_one_are_tried_for_every_token() {
    for (keys, kid, expected) in [
        (vec![right(Some(KID))], Some(KID), "accepted"),
        (vec![right(Some(KID))], None, "accepted"),
        (vec![right(None)], Some(KID), "accepted"),
        (vec![right(None)], None, "accepted"),
        (vec![stranger(Some(KID)), right(None)], Some(KID), "accepted"),
        ([vec![stranger(None); 8], vec![right(Some(KID))]].concat(), Some(KID), "accepted"),
        (vec![stranger(Some("other")), right(Some(KID))], None, "accepted"),
        // No key has the token's `kid`. The verifier does not try a single key either, because the issuer may have a
        // new key.
        (vec![right(Some(KID))], Some("other"), "unknown_key"),
        (vec![right(Some(""))], Some(KID), "unknown_key"),
        (vec![right(Some(KID))], Some(""), "unknown_key"),
        (vec![stranger(Some(KID)), right(Some("other"))], Some(KID), "bad_signature"),
        (vec![stranger(None)], Some(KID), "bad_signature"),
        (vec![stranger(Some(KID))], None, "bad_signature"),
    ] {
        assert_eq!(decide(&keys, kid), expected, "{keys:?} {kid:?}");
    }
}

/// The verifier never tries a key of one issuer for a token of a different issuer, even if no key has a `kid`.
#[test]
fn v57_keys_without_a_name_stay_with_their_issuer() {
    let other = Issuer::oidc("https://idp.example", [Algorithm::Rs256]).unwrap();
    let document = json!({ "keys": [right(None)] }).to_string();
    let keys = KeySet::of_jwks(&other, document.as_bytes()).unwrap();
    let token = with_kid(None).sign();
    let decision =
        crate::support::verifier().check(&keys, &Authorization::new(Scheme::MtlsPop, &token), &client(), NOW);
    assert_eq!(code(decision), "unknown_key");
}

async fn told(verifier: &Verifier, clock: &At, kid: Option<&str>, forged: bool) -> &'static str {
    let mut token = of_now("", clock);
    match kid {
        Some(kid) => token = token.header("kid", json!(kid)),
        None => drop(token.header.remove("kid")),
    }
    let token = if forged { token.forge() } else { token.sign() };
    code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await)
}

/// Only a failed signature shows that the issuer replaced keys without a `kid`.
#[tokio::test]
async fn v58_a_rotation_of_keys_without_names_is_noticed() {
    for (before, after, kid) in [
        (stranger(None), right(None), None),
        (stranger(None), right(None), Some(KID)),
        (stranger(None), right(Some(KID)), Some(KID)),
        (stranger(Some("old")), right(Some(KID)), None),
    ] {
        let (documents, clock) = (Documents::entra(), At::now());
        documents.set(JWKS, &json!({ "keys": [before] }));
        let verifier = verifier(&documents, &clock);
        assert_eq!(told(&verifier, &clock, kid, false).await, "bad_signature");
        assert_eq!(documents.fetches(), 2, "the verifier fetches the keys");
        documents.set(JWKS, &json!({ "keys": [after] }));
        assert_eq!(told(&verifier, &clock, kid, false).await, "bad_signature");
        assert_eq!(documents.fetches(), 2, "the fetch is not repeated at once");
        clock.advance(30);
        assert_eq!(told(&verifier, &clock, kid, false).await, "accepted");
        assert_eq!(documents.fetches(), 3);
    }
}

#[tokio::test]
async fn v55_forged_tokens_cause_no_more_fetches_than_unknown_keys() {
    let (documents, clock) = (Documents::entra(), At::now());
    documents.set(JWKS, &json!({ "keys": [right(None)] }));
    let verifier = verifier(&documents, &clock);
    assert_eq!(told(&verifier, &clock, None, false).await, "accepted");
    for second in 0..90 {
        for kid in [None, Some("unknown")] {
            assert_eq!(told(&verifier, &clock, kid, true).await, "bad_signature");
        }
        assert_eq!(documents.fetches(), 2 + second / 30);
        clock.advance(1);
    }
    documents.fail(METADATA, FetchError::Status { status: 503 });
    assert_eq!(told(&verifier, &clock, None, true).await, "keys_unavailable");
    assert_eq!(told(&verifier, &clock, None, false).await, "accepted");
    assert_eq!(documents.fetches(), 5);
}

/// The verifier has the key that the token names, and the token's signature is wrong. New keys would not change this.
#[tokio::test]
async fn v55_a_forged_token_of_a_known_key_causes_no_fetch() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(told(&verifier, &clock, Some(KID), false).await, "accepted");
    for _ in 0..20 {
        assert_eq!(told(&verifier, &clock, Some(KID), true).await, "bad_signature");
        clock.advance(30);
    }
    assert_eq!(documents.fetches(), 1);
}

/// If the keys of an issuer are configured, the verifier fetches no keys.
#[tokio::test]
async fn fixed_keys_are_tried_and_that_is_all() {
    let document = json!({ "keys": [stranger(None)] }).to_string();
    let keys = KeySet::of_jwks(&issuer(), document.as_bytes()).unwrap();
    let clock = At::now();
    let verifier = Verifier::builder()
        .issuer_with_keys(issuer(), keys)
        .audience(AUDIENCE)
        .dangerous_any_caller()
        .with_clock(clock.clone())
        .build()
        .unwrap();
    assert_eq!(told(&verifier, &clock, None, false).await, "bad_signature");
    assert_eq!(told(&verifier, &clock, Some("any"), false).await, "bad_signature");
}
