//! 29, 55 and 59: which keys a token is tried with, by its `kid`.

use certbound_verifier::{Algorithm, Authorization, Issuer, KeySet, Scheme};
use serde_json::{Value, json};

use crate::keys::jwk;
use crate::support::{KID, NOW, Token, base64, client, code, der, issuer, token};

/// A key that signed none of the tokens here.
fn stranger(kid: Option<&str>) -> Value {
    let key = certbound_verifier::PublicKey::from_certificate(&der("rsa.pem")).unwrap();
    let (n, e) = key.rsa_components().unwrap();
    named(json!({ "kty": "RSA", "n": base64(n), "e": base64(e) }), kid)
}

/// The key that signed them.
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
    // Keys of another algorithm, and keys of other tenants, do not count.
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
        // A name that no key has, also where there is one key only: the issuer may have a new one.
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

/// Keys of one issuer are tried for no other, also where nothing has a name.
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
