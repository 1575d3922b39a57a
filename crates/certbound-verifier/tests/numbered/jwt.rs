//! Cases 24 to 36 and 44: the token's form and signature.

use serde_json::json;

use crate::support::{KID, base64, code, decide, der, public_key, sign_json, token};

const HEADER: &str = r#"{"typ":"JWT","alg":"RS256","kid":"k1"}"#;

fn payload() -> String {
    serde_json::to_string(&token().claims).unwrap()
}

#[test]
fn v24_no_algorithm() {
    for alg in ["none", "None", "NONE", ""] {
        let token = token().header("alg", json!(alg)).sign();
        assert_eq!(code(decide(&token)), "algorithm_not_accepted", "{alg}");
        let (input, _) = token.rsplit_once('.').unwrap();
        assert_eq!(code(decide(&format!("{input}."))), "malformed_token", "without a signature");
    }
    assert_eq!(code(decide(&sign_json(r#"{"typ":"JWT","kid":"k1"}"#, &payload()))), "malformed_token");
    assert_eq!(code(decide(&sign_json(r#"{"alg":null,"kid":"k1"}"#, &payload()))), "malformed_token");
}

#[test]
fn v25_the_public_key_as_a_secret() {
    use aws_lc_rs::hmac;
    let (n, _) = public_key().rsa_components().map(|(n, e)| (n.to_vec(), e.to_vec())).unwrap();
    for secret in [n, der("other.pem")] {
        let header = r#"{"typ":"JWT","alg":"HS256","kid":"k1"}"#;
        let input = [header, &payload()].map(|part| base64(part.as_bytes())).join(".");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
        let token = format!("{input}.{}", base64(tag.as_ref()));
        assert_eq!(code(decide(&token)), "algorithm_not_accepted");
    }
}

#[test]
fn v26_another_algorithm_than_the_pinned_one() {
    for alg in ["RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256"] {
        assert_eq!(
            code(decide(&token().header("alg", json!(alg)).sign())),
            "algorithm_not_accepted",
            "{alg}"
        );
    }
}

#[test]
fn v27_a_key_in_the_header_is_ignored() {
    // The issuer signed this token, and its header names other keys. The verifier accepts the token, so it ignores
    // those keys.
    let token_with = |name: &str| {
        token()
            .header(name, if name == "x5c" { json!(["MIIB"]) } else { json!("https://evil.example/k") })
            .sign()
    };
    for name in ["jku", "x5u", "jwk", "x5c"] {
        assert_eq!(code(decide(&token_with(name))), "accepted", "{name}");
    }
    // An attacker signed this token, and its header contains a key with the right `kid`. The verifier ignores this key.
    let stranger = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let jwk = json!({ "kty": "RSA", "kid": KID, "e": "AQAB", "n": "x" });
    let forged = token().header("jwk", jwk);
    let input = certbound_core::jws::signing_input(&forged.header, &forged.claims);
    let mut signature = vec![0; stranger.public_modulus_len()];
    let random = aws_lc_rs::rand::SystemRandom::new();
    stranger
        .sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature)
        .unwrap();
    assert_eq!(code(decide(&format!("{input}.{}", base64(&signature)))), "bad_signature");
}

#[test]
fn v28_v29_a_key_id_is_opaque_and_may_be_missing() {
    let long = "k".repeat(10_000);
    for kid in ["../../k1", "k1' or '1'='1", "https://evil.example/k1", "\u{0}k1", "K1", "k1 ", "", &long] {
        assert_eq!(code(decide(&token().header("kid", json!(kid)).sign())), "unknown_key", "{kid:.20}");
    }
    let mut missing = token();
    missing.header.remove("kid");
    assert_eq!(code(decide(&missing.sign())), "accepted", "every key of its algorithm is tried");
    assert_eq!(code(decide(&missing.forge())), "bad_signature");
    assert_eq!(code(decide(&token().header("kid", json!(7)).sign())), "malformed_token");
}

#[test]
fn v30_extensions_that_must_be_understood() {
    for (name, value) in
        [("crit", json!(["x"])), ("crit", json!([])), ("b64", json!(false)), ("b64", json!(true))]
    {
        assert_eq!(code(decide(&token().header(name, value).sign())), "malformed_token", "{name}");
    }
}

#[test]
fn v31_v32_not_three_parts() {
    let token = token().sign();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = input.split_once('.').unwrap();
    for parts in [
        format!("{header}.{payload}.{signature}.x.y"),
        format!("{header}.{payload}.{signature}.x"),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{token}."),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
        header.to_owned(),
        String::new(),
        "..".to_owned(),
    ] {
        assert_eq!(code(decide(&parts)), "malformed_token", "{parts:.30}");
    }
}

/// OpenIddict encrypts access tokens by default. The refusal's fix advises to issue signed tokens.
#[test]
fn v31_an_encrypted_token_is_called_encrypted() {
    let header = base64(br#"{"alg":"RSA-OAEP","enc":"A256CBC-HS512","kid":"k1","typ":"at+jwt","cty":"JWT"}"#);
    let refusal = decide(&format!("{header}.AAAA.AAAA.AAAA.AAAA")).unwrap_err();
    assert_eq!((refusal.code(), refusal.status()), ("encrypted_token", 401));
    assert!(refusal.fix().contains("signed tokens"), "{}", refusal.fix());
    // Neither the header alone nor the number of parts alone makes the token an encrypted token.
    let signed = base64(HEADER.as_bytes());
    assert_eq!(code(decide(&format!("{signed}.AAAA.AAAA.AAAA.AAAA"))), "malformed_token");
    assert_eq!(code(decide(&format!("{header}.AAAA.AAAA"))), "malformed_token");
}

#[test]
fn v33_a_member_twice() {
    let claims = payload();
    let twice = |name: &str, value: &str| claims.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    for payload in [
        twice("aud", "\"api://orders\""),
        twice("a\\u0075d", "\"api://orders\""),
        claims.replacen("\"x5t#S256\":", "\"x5t#S256\":\"x\",\"x5t#S256\":", 1),
    ] {
        assert_eq!(code(decide(&sign_json(HEADER, &payload))), "malformed_token", "{payload:.40}");
    }
    let header = HEADER.replacen('{', "{\"alg\":\"none\",", 1);
    assert_eq!(code(decide(&sign_json(&header, &claims))), "malformed_token");
}

#[test]
fn v34_a_payload_that_is_no_object_or_hostile() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(2000), "]".repeat(2000));
    for payload in ["[]", "7", "\"x\"", "null", "", "{", "{}{}", "{\"a\":1e400}", &deep, "\u{0}{}"] {
        assert_eq!(code(decide(&sign_json(HEADER, payload))), "malformed_token", "{payload:.20}");
    }
    let invalid_utf8 =
        crate::support::sign_text(&format!("{}.{}", base64(HEADER.as_bytes()), base64(b"{\"a\":\"\xff\"}")));
    assert_eq!(code(decide(&invalid_utf8)), "malformed_token");
}

#[test]
fn v35_base64url_has_one_spelling() {
    let token = token().sign();
    let parts: Vec<&str> = token.split('.').collect();
    for at in 0..3 {
        let spoil = |part: String| {
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[at] = part;
            code(decide(&parts.join(".")))
        };
        let part = parts[at];
        for spoiled in [
            format!("{part}="),
            format!("{part}=="),
            format!(" {part}"),
            format!("{part}\n"),
            format!("{}+{}", &part[..4], &part[5..]),
            format!("{}/{}", &part[..4], &part[5..]),
        ] {
            assert_eq!(spoil(spoiled.clone()), "malformed_token", "{spoiled:.12}");
        }
    }
    // The signature has 256 bytes, so the last character has four spare bits.
    let last = token.chars().last().unwrap();
    let other = if last == 'A' || last == 'Q' || last == 'g' || last == 'w' {
        char::from_u32(u32::from(last) + 1).unwrap()
    } else {
        panic!("{last}")
    };
    assert_eq!(code(decide(&format!("{}{other}", &token[..token.len() - 1]))), "malformed_token");
}

#[test]
fn v36_larger_than_is_read() {
    let large = token().claim("padding", json!("x".repeat(16 * 1024))).sign();
    assert_eq!(code(decide(&large)), "malformed_token");
    let refusal = decide(&"a".repeat(1 << 20)).unwrap_err();
    assert!(refusal.to_string().contains("at most 16384"), "{refusal}");
    let fits = token().claim("padding", json!("x".repeat(10 * 1024))).sign();
    assert_eq!(code(decide(&fits)), "accepted");
}

#[test]
fn v44_a_signature_over_other_bytes() {
    let token = token();
    let (input, signature) = {
        let signed = token.sign();
        let (input, signature) = signed.rsplit_once('.').unwrap();
        (input.to_owned(), signature.to_owned())
    };
    let (header, _) = input.split_once('.').unwrap();
    // These are the same claims with different white space.
    let pretty = serde_json::to_string_pretty(&token.claims).unwrap();
    let re_encoded = format!("{header}.{}.{signature}", base64(pretty.as_bytes()));
    assert_eq!(code(decide(&re_encoded)), "bad_signature");
    // The signature is one byte shorter, then one byte longer.
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&signature).unwrap();
    assert_eq!(code(decide(&format!("{input}.{}", base64(&bytes[1..])))), "bad_signature");
    assert_eq!(
        code(decide(&format!("{input}.{}", base64(&[&[0], bytes.as_slice()].concat())))),
        "bad_signature"
    );
}

#[test]
fn another_type_of_token_is_refused() {
    for typ in ["dpop+jwt", "JOSE", "secevent+jwt", ""] {
        assert_eq!(code(decide(&token().header("typ", json!(typ)).sign())), "not_a_jwt", "{typ}");
    }
    for typ in ["jwt", "at+jwt", "application/at+jwt"] {
        assert_eq!(code(decide(&token().header("typ", json!(typ)).sign())), "accepted", "{typ}");
    }
}
