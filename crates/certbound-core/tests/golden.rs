//! Compares requests, thumbprints and signatures with the files in `testdata`. Other programs made these files, or the
//! files follow the description of the protocol.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use certbound_core::certificate::{CertificateChain, CertificateError, Thumbprint};
use certbound_core::credential::ClientProof;
use certbound_core::jws::{Algorithm, JwsError, KeyError, PublicKey, UnverifiedJws};
use certbound_core::request::{Grant, ReceivedForm, TokenRequest};
use certbound_core::secret::Secret;

macro_rules! testdata {
    ($path:literal) => {
        include_bytes!(concat!("../../../testdata/", $path))
    };
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_forms_of_a_token_request() {
    let assertion = Secret::new("J.J.J");
    let leg1 = TokenRequest {
        client_id: "A",
        grant: Grant::ClientCredentials,
        proof: ClientProof::CertificateOnly,
        scope: "api://AzureADTokenExchange/.default",
        bound: true,
        claims: None,
        fmi_path: None,
        extra: &[],
    };
    let bound = TokenRequest {
        client_id: "B",
        proof: ClientProof::BoundAssertion(&assertion),
        scope: "https://vault.azure.net/.default",
        ..leg1
    };
    let bearer = TokenRequest { bound: false, ..bound };
    let machine_bound = TokenRequest {
        client_id: "11111111-2222-3333-4444-555555555555",
        grant: Grant::ManagedIdentity,
        scope: "https://graph.microsoft.com/.default",
        ..leg1
    };
    let machine_bearer = TokenRequest { bound: false, ..machine_bound };
    let cases: [(TokenRequest<'_>, &[u8]); 5] = [
        (leg1, testdata!("wire/leg1.form")),
        (bound, testdata!("wire/leg2-bound.form")),
        (bearer, testdata!("wire/leg2-bearer.form")),
        (machine_bound, testdata!("wire/machine-bound.form")),
        (machine_bearer, testdata!("wire/machine-bearer.form")),
    ];
    for (request, golden) in cases {
        assert_eq!(text(&request.encode()), text(golden));
        // Decoding is tested with the file, not with the output of our own encoder.
        let form = ReceivedForm::decode(golden).unwrap();
        let read: Vec<_> = form.iter().collect();
        assert_eq!(read, request.parameters());
    }
}

fn der_of(pem: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let body: String = text(pem).lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

#[test]
fn thumbprints_are_what_openssl_says() {
    let cases: [(&[u8], &[u8], &[u8]); 3] = [
        (
            testdata!("certificates/rsa.pem"),
            testdata!("certificates/rsa.sha256"),
            testdata!("certificates/rsa.x5t-s256"),
        ),
        (
            testdata!("certificates/p256.pem"),
            testdata!("certificates/p256.sha256"),
            testdata!("certificates/p256.x5t-s256"),
        ),
        (
            testdata!("certificates/p384.pem"),
            testdata!("certificates/p384.sha256"),
            testdata!("certificates/p384.x5t-s256"),
        ),
    ];
    for (pem, hex, x5t) in cases {
        let thumbprint = Thumbprint::of_der(&der_of(pem));
        assert_eq!(thumbprint.hex(), text(hex).trim());
        assert_eq!(thumbprint.x5t_s256(), text(x5t));
        assert!(thumbprint.matches_claim(text(x5t)));
        for wrong in
            [text(x5t).to_lowercase(), format!("{}=", text(x5t)), text(hex).trim().to_owned(), String::new()]
        {
            assert!(!thumbprint.matches_claim(&wrong), "{wrong}");
        }
    }
}

#[test]
fn a_chain_tells_its_facts_and_refuses_what_is_no_certificate() {
    let der = der_of(testdata!("certificates/rsa.pem"));
    let chain = CertificateChain::from_der(vec![der.clone()]).unwrap();
    assert!(chain.is_rsa());
    assert_eq!(chain.subject(), "CN=rsa, O=certbound tests");
    assert_eq!(chain.issuer(), "CN=certbound test CA");
    assert!(chain.not_before() < chain.not_after());

    let trailing = [der.as_slice(), b"x"].concat();
    assert_eq!(CertificateChain::from_der(vec![trailing]), Err(CertificateError::TrailingBytes { at: 0 }));
    assert_eq!(CertificateChain::from_der(vec![]), Err(CertificateError::Empty));
    let second = vec![der.clone(), b"\x30\x03\x02\x01\x01".to_vec()];
    assert_eq!(CertificateChain::from_der(second), Err(CertificateError::Malformed { at: 1 }));
    assert_eq!(CertificateChain::from_der(vec![der; 17]), Err(CertificateError::TooLong { length: 17 }));
}

const ALL: &[Algorithm] = Algorithm::ALL;

#[test]
fn signatures_of_openssl_hold_and_a_changed_byte_does_not() {
    let rsa = PublicKey::from_certificate(&der_of(testdata!("certificates/rsa.pem"))).unwrap();
    let p256 = PublicKey::from_certificate(&der_of(testdata!("certificates/p256.pem"))).unwrap();
    let cases: [(&[u8], &PublicKey); 3] = [
        (testdata!("jws/rs256.jwt"), &rsa),
        (testdata!("jws/ps256.jwt"), &rsa),
        (testdata!("jws/es256.jwt"), &p256),
    ];
    for (token, key) in cases {
        let token = text(token);
        let verified = UnverifiedJws::parse(token).unwrap().verify(key, ALL).unwrap();
        assert_eq!(verified.claims().audiences(), ["x"]);
        let other = if std::ptr::eq(key, &rsa) { &p256 } else { &rsa };
        assert_eq!(
            UnverifiedJws::parse(token).unwrap().verify(other, ALL).unwrap_err(),
            JwsError::BadSignature
        );
        // This changes one character of the payload, and not its length.
        let at = token.find('.').unwrap() + 5;
        let replacement = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let forged = format!("{}{replacement}{}", &token[..at], &token[at + 1..]);
        assert!(UnverifiedJws::parse(&forged).unwrap().verify(key, ALL).is_err());
    }
    let only_es = UnverifiedJws::parse(text(testdata!("jws/rs256.jwt"))).unwrap();
    assert!(matches!(only_es.verify(&rsa, &[Algorithm::Es256]), Err(JwsError::AlgorithmNotAccepted { .. })));
}

/// Returns the key of `testdata/jws` that has this `kid`.
fn key_of(kid: &str) -> PublicKey {
    let set = certbound_core::json::parse_object(testdata!("jws/keys.json")).unwrap();
    let keys = set.get("keys").unwrap().as_array().unwrap();
    let jwk = keys.iter().find(|jwk| jwk.get("kid").unwrap() == kid).unwrap();
    PublicKey::from_jwk(jwk.as_object().unwrap()).unwrap()
}

/// A signature is valid only with the key that made it, and only if the caller accepts its algorithm.
#[test]
fn every_algorithm_verifies_by_its_own_key_alone() {
    let cases: [(&[u8], Algorithm, &str); 8] = [
        (testdata!("jws/rs384.jwt"), Algorithm::Rs384, "rsa"),
        (testdata!("jws/rs512.jwt"), Algorithm::Rs512, "rsa"),
        (testdata!("jws/ps384.jwt"), Algorithm::Ps384, "rsa"),
        (testdata!("jws/ps512.jwt"), Algorithm::Ps512, "rsa"),
        (testdata!("jws/es384.jwt"), Algorithm::Es384, "p384"),
        (testdata!("jws/es512.jwt"), Algorithm::Es512, "p521"),
        (testdata!("jws/eddsa.jwt"), Algorithm::EdDsa, "ed25519"),
        (testdata!("jws/ed25519.jwt"), Algorithm::Ed25519, "ed25519"),
    ];
    for (token, algorithm, kid) in cases {
        let parse = || UnverifiedJws::parse(text(token)).unwrap();
        let jws = parse();
        assert_eq!((jws.header().alg(), jws.header().kid()), (algorithm.name(), Some(kid)));
        assert_eq!(parse().verify(&key_of(kid), &[algorithm]).unwrap().claims().audiences(), ["x"]);
        for other in ["rsa", "p384", "p521", "ed25519"].into_iter().filter(|other| *other != kid) {
            assert_eq!(
                jws.check_signature([&key_of(other)], ALL),
                Err(JwsError::BadSignature),
                "{algorithm}"
            );
        }
        let others: Vec<_> = ALL.iter().copied().filter(|other| *other != algorithm).collect();
        let accepted = Algorithm::names(&others);
        let error = JwsError::AlgorithmNotAccepted { found: algorithm.name().to_owned(), accepted };
        assert_eq!(jws.check_signature([&key_of(kid)], &others), Err(error));
        // This changes the last byte of the signature.
        let (rest, last) = text(token).split_at(text(token).len() - 2);
        let forged = format!("{rest}{}", if last.starts_with('A') { "Bw" } else { "AA" });
        let forged = UnverifiedJws::parse(&forged).unwrap();
        assert_eq!(forged.check_signature([&key_of(kid)], ALL), Err(JwsError::BadSignature), "{algorithm}");
    }
}

/// The name of an algorithm fixes its hash, its curve and the length of its salt (RFC 7518, sections 3.4 and 3.5).
#[test]
fn signatures_with_another_hash_curve_or_salt_are_refused() {
    let cases: [(&[u8], &str); 3] = [
        (testdata!("jws/es384-with-sha256.jwt"), "p384"),
        (testdata!("jws/es256-on-p384.jwt"), "p384"),
        (testdata!("jws/ps384-with-salt-of-20.jwt"), "rsa"),
    ];
    for (token, kid) in cases {
        let jws = UnverifiedJws::parse(text(token)).unwrap();
        let alg = jws.header().alg();
        assert_eq!(jws.check_signature([&key_of(kid)], ALL), Err(JwsError::BadSignature), "{alg}");
    }
}

#[test]
fn algorithms_are_found_by_their_exact_names() {
    for algorithm in ALL {
        assert_eq!(Algorithm::by_name(algorithm.name()), Some(*algorithm));
    }
    for unknown in ["", "none", "HS256", "rs256", "ES256K", "EDDSA", "Ed448", "ed25519"] {
        assert_eq!(Algorithm::by_name(unknown), None, "{unknown}");
    }
}

/// The keys and signatures of RFC 7515, appendix A.3 (ES256), and of RFC 8037, appendix A.4 (EdDSA).
#[test]
fn the_examples_of_the_standards_verify_with_their_jwks() {
    let key = |jwk: &str| {
        PublicKey::from_jwk(&certbound_core::json::parse_object(jwk.as_bytes()).unwrap()).unwrap()
    };
    let p256 = key(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    );
    let ed25519 = key(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
    let es256 = concat!(
        "eyJhbGciOiJFUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    let eddsa = concat!(
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    let all = [Algorithm::Es256, Algorithm::EdDsa];
    for (token, key, other) in [(es256, &p256, &ed25519), (eddsa, &ed25519, &p256)] {
        let jws = UnverifiedJws::parse(token).unwrap();
        assert_eq!(jws.check_signature([key], &all), Ok(()));
        assert_eq!(jws.check_signature([other, key], &all), Ok(()), "any of several");
        assert_eq!(jws.check_signature([other], &all), Err(JwsError::BadSignature));
        assert_eq!(jws.check_signature([], &all), Err(JwsError::BadSignature));
    }
    let verified = UnverifiedJws::parse(es256).unwrap().verify(&p256, &all).unwrap();
    assert_eq!(verified.claims().string("iss"), Some("joe"));
}

#[test]
fn points_off_the_curve_and_short_coordinates_are_no_keys() {
    let key = |jwk: &str| {
        PublicKey::from_jwk(&certbound_core::json::parse_object(jwk.as_bytes()).unwrap())
            .map(|_| ())
            .unwrap_err()
    };
    let coordinate = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let ec = |x: &str, y: &str| key(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#));
    assert_eq!(ec(coordinate, coordinate), KeyError::NotAKey);
    assert_eq!(ec(coordinate, "AA"), KeyError::BadJwk);
    assert_eq!(ec("AA", coordinate), KeyError::BadJwk);
    assert_eq!(key(r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#), KeyError::BadJwk);
    assert_eq!(key(r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#), KeyError::Unsupported);
    // The coordinates are those of a point on P-256, but `crv` names a different curve.
    for crv in ["P-384", "P-521"] {
        let jwk = format!(r#"{{"kty":"EC","crv":"{crv}","x":"{coordinate}","y":"{coordinate}"}}"#);
        assert_eq!(key(&jwk), KeyError::BadJwk, "{crv}");
    }
    assert_eq!(key(r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#), KeyError::BadJwk);
    assert_eq!(key(r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#), KeyError::Unsupported);
}

#[test]
fn an_unsigned_token_and_a_public_key_as_a_secret_are_refused() {
    let rsa = PublicKey::from_certificate(&der_of(testdata!("certificates/rsa.pem"))).unwrap();
    assert_eq!(UnverifiedJws::parse(text(testdata!("jws/none.jwt"))).unwrap_err(), JwsError::EmptyPart);
    let confused = UnverifiedJws::parse(text(testdata!("jws/hs256-with-rsa-key.jwt"))).unwrap();
    assert!(
        matches!(confused.verify(&rsa, ALL), Err(JwsError::AlgorithmNotAccepted { found, .. }) if found == "HS256")
    );
    assert!(PublicKey::from_certificate(&der_of(testdata!("certificates/rsa1024.pem"))).is_err());
}

#[test]
fn a_compact_jws_has_one_spelling() {
    let token = text(testdata!("jws/rs256.jwt"));
    let code = |token: &str| UnverifiedJws::parse(token).map(|_| ()).unwrap_err();
    assert!(matches!(code(&format!("{token}.")), JwsError::NotThreeParts { count: 4 }));
    assert!(matches!(code(&format!("{token}.x.y")), JwsError::NotThreeParts { count: 5 }));
    assert!(matches!(code("a.b"), JwsError::NotThreeParts { count: 2 }));
    // The header is from RFC 7516, appendix A.1. The four other parts of the JWE are placeholders.
    let encrypted = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ";
    assert_eq!(code(&format!("{encrypted}.a.b.c.d")), JwsError::Encrypted);
    assert_eq!(
        code(&format!("{encrypted}..b.c.d")),
        JwsError::Encrypted,
        "direct encryption has no encrypted key"
    );
    assert!(matches!(code(&format!("{encrypted}.a.b.c")), JwsError::NotThreeParts { count: 4 }));
    assert!(matches!(code(&format!("{token}=")), JwsError::Base64 { part: "signature" }));
    assert!(matches!(code(&format!(" {token}")), JwsError::Base64 { part: "header" }));
    assert!(matches!(code(&token.replacen('.', "+.", 1)), JwsError::Base64 { part: "header" }));
    assert!(matches!(code(&"a".repeat(UnverifiedJws::MAX_BYTES + 1)), JwsError::TooLarge { .. }));
    // The decoded headers below: {"alg":"RS256","crit":["x"]}, {"alg":"RS256","alg":"none"}, {"typ":"JWT"}, {"alg":7}
    let with_header = |header: &str| {
        let (_, rest) = token.split_once('.').unwrap();
        code(&format!("{header}.{rest}"))
    };
    assert_eq!(with_header("eyJhbGciOiJSUzI1NiIsImNyaXQiOlsieCJdfQ"), JwsError::CriticalExtension);
    assert!(matches!(
        with_header("eyJhbGciOiJSUzI1NiIsImFsZyI6Im5vbmUifQ"),
        JwsError::Json { part: "header", .. }
    ));
    assert_eq!(with_header("eyJ0eXAiOiJKV1QifQ"), JwsError::NoAlgorithm);
    assert_eq!(with_header("eyJhbGciOjd9"), JwsError::HeaderType { member: "alg" });
}

proptest::proptest! {
    #[test]
    fn reading_a_token_never_panics(token in ".*") {
        let _ = UnverifiedJws::parse(&token);
    }

    #[test]
    fn reading_a_certificate_never_panics(der: Vec<u8>) {
        let _ = CertificateChain::from_der(vec![der]);
    }
}
