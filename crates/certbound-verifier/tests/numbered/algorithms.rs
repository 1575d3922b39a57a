//! Case 26: every algorithm of an OpenID issuer, each with its own key, and no algorithm that is not accepted.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use certbound_core::jws;
use certbound_verifier::{Algorithm, Authorization, Issuer, KeySet, KeySetError, Scheme, Verifier};
use serde_json::{Value, json};

use crate::keys::{At, Documents};
use crate::support::{AUDIENCE, KID, NOW, base64, client, code, token};

const ISSUER: &str = "https://idp.example";

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A key made for this run: its JWK, and the function that signs with it.
struct Signer {
    jwk: Value,
    sign: Sign,
}

fn signer(algorithm: Algorithm) -> Signer {
    match algorithm {
        Algorithm::Es256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        Algorithm::Es384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
        Algorithm::Es512 => ecdsa(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
        Algorithm::EdDsa | Algorithm::Ed25519 => {
            let key = Ed25519KeyPair::generate().unwrap();
            let x = base64(key.public_key().as_ref());
            let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
            Signer { jwk, sign: Box::new(move |text| key.sign(text).as_ref().to_vec()) }
        }
        Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => rsa(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => rsa(&signature::RSA_PSS_SHA512),
        other => panic!("no signer for {other}"),
    }
}

fn ecdsa(algorithm: &'static signature::EcdsaSigningAlgorithm, crv: &str) -> Signer {
    let key = EcdsaKeyPair::generate(algorithm).unwrap();
    let point = key.public_key().as_ref().to_vec();
    let (x, y) = point[1..].split_at(point.len() / 2);
    let jwk = json!({ "kty": "EC", "crv": crv, "x": base64(x), "y": base64(y) });
    let sign = move |text: &[u8]| key.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec();
    Signer { jwk, sign: Box::new(sign) }
}

fn rsa(padding: &'static dyn signature::RsaEncoding) -> Signer {
    let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    // `RSAPublicKey` (RFC 8017, appendix A.1.1) of 2048 bits: n after a zero byte, then e, which is 65537.
    let public = key.public_key().as_ref();
    assert_eq!((public.len(), &public[265..]), (270, &[2, 3, 1, 0, 1][..]));
    let jwk = json!({ "kty": "RSA", "n": base64(&public[9..265]), "e": base64(&public[267..]) });
    let sign = move |text: &[u8]| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(padding, &SystemRandom::new(), text, &mut signature).unwrap();
        signature
    };
    Signer { jwk, sign: Box::new(sign) }
}

fn signed(signer: &Signer, alg: &str) -> String {
    let token = token().claim("iss", json!(ISSUER)).claim("azp", json!("c")).claim("sub", json!("c"));
    let token = token.header("alg", json!(alg));
    let input = jws::signing_input(&token.header, &token.claims);
    let signature = (signer.sign)(input.as_bytes());
    jws::assemble(input, &signature).expose().to_owned()
}

fn keys(accepted: &[Algorithm], jwks: &[&Value]) -> Result<KeySet, KeySetError> {
    let issuer = Issuer::oidc(ISSUER, accepted.iter().copied()).unwrap();
    KeySet::of_jwks(&issuer, json!({ "keys": jwks }).to_string().as_bytes())
}

fn decide(accepted: &[Algorithm], keys: &KeySet, token: &str) -> &'static str {
    let issuer = Issuer::oidc(ISSUER, accepted.iter().copied()).unwrap();
    let verifier = Verifier::builder().issuer_with_keys(issuer, KeySet::new()).audience(AUDIENCE);
    let verifier = verifier.dangerous_any_caller().build().unwrap();
    code(verifier.check(keys, &Authorization::new(Scheme::MtlsPop, token), &client(), NOW))
}

#[test]
fn v26_every_algorithm_is_accepted_where_it_is_named_and_nowhere_else() {
    for algorithm in Algorithm::ALL.iter().copied() {
        let signer = signer(algorithm);
        let token = signed(&signer, algorithm.name());
        let alone = keys(&[algorithm], &[&signer.jwk]).unwrap();
        assert_eq!(decide(&[algorithm], &alone, &token), "accepted", "{algorithm}");
        let all = keys(Algorithm::ALL, &[&signer.jwk]).unwrap();
        assert_eq!(decide(Algorithm::ALL, &all, &token), "accepted", "{algorithm}");
        let others: Vec<_> = Algorithm::ALL.iter().copied().filter(|other| *other != algorithm).collect();
        assert_eq!(decide(&others, &all, &token), "algorithm_not_accepted", "{algorithm}");
        // The signature is right, but the header names a different algorithm.
        for other in others {
            let renamed = signed(&signer, other.name());
            let told = decide(Algorithm::ALL, &all, &renamed);
            let same = matches!(
                (algorithm, other),
                (Algorithm::EdDsa, Algorithm::Ed25519) | (Algorithm::Ed25519, Algorithm::EdDsa)
            );
            let refused = ["unknown_key", "bad_signature"].contains(&told);
            assert!(if same { told == "accepted" } else { refused }, "{algorithm} as {other}: {told}");
        }
    }
}

/// The JWK may name the algorithm of Ed25519 by the old or the new name. The token must use an accepted name.
#[test]
fn ed25519_has_two_names() {
    let signer = signer(Algorithm::Ed25519);
    for named in [None, Some("EdDSA"), Some("Ed25519")] {
        let mut jwk = signer.jwk.clone();
        if let Some(named) = named {
            jwk["alg"] = json!(named);
        }
        for accepted in [Algorithm::EdDsa, Algorithm::Ed25519] {
            let keys = keys(&[accepted], &[&jwk]).unwrap();
            let token = signed(&signer, accepted.name());
            assert_eq!(decide(&[accepted], &keys, &token), "accepted", "{named:?} {accepted}");
        }
    }
}

#[test]
fn keys_for_other_algorithms_are_called_that() {
    let (ec, rsa) = (signer(Algorithm::Es384).jwk, signer(Algorithm::Rs256).jwk);
    let mut named = rsa.clone();
    named["alg"] = json!("RS512");
    let error = keys(&[Algorithm::Es256, Algorithm::EdDsa], &[&ec, &rsa, &named, &rsa]).unwrap_err();
    assert_eq!(
        error,
        KeySetError::NoneAccepted { found: "P-384, RSA, RS512".into(), accepted: "ES256, EdDSA".into() }
    );
    assert_eq!(
        error.to_string(),
        "the keys are for P-384, RSA, RS512, but the accepted algorithms are ES256, EdDSA"
    );
    assert!(keys(&[Algorithm::Rs384], &[&ec, &rsa]).is_ok(), "one usable key is enough");
}

/// Returns a verifier that accepts these algorithms, and fetches the keys of the issuer from `documents`.
fn fetching(documents: &Documents, clock: &At, accepted: [Algorithm; 2]) -> Verifier {
    let builder = Verifier::builder().issuer(Issuer::oidc(ISSUER, accepted).unwrap()).audience(AUDIENCE);
    let builder = builder.dangerous_any_caller().with_clock(clock.clone());
    builder.with_fetch(documents.clone()).build().unwrap()
}

/// The operator configured an algorithm that the issuer does not sign with. The refusals for the token and for the
/// published keys name the accepted algorithms.
#[tokio::test]
async fn a_wrong_algorithm_says_so() {
    let signer = signer(Algorithm::Rs256);
    let documents = Documents::default();
    let well_known = format!("{ISSUER}/.well-known/openid-configuration");
    documents.set(&well_known, &json!({ "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/jwks") }));
    documents.set(&format!("{ISSUER}/jwks"), &json!({ "keys": [signer.jwk] }));
    let verifier = fetching(&documents, &At::now(), [Algorithm::Es256, Algorithm::Es384]);
    let refusal = async |alg: &str| {
        let token = signed(&signer, alg);
        verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await.unwrap_err()
    };
    let told = refusal("RS256").await;
    assert_eq!(told.code(), "algorithm_not_accepted");
    assert!(
        told.to_string().contains("`RS256` is not accepted; the accepted algorithms are ES256, ES384"),
        "{told}"
    );
    let told = refusal("ES256").await;
    assert_eq!(told.code(), "keys_unavailable");
    let expected =
        "https://idp.example/jwks: the keys are for RSA, but the accepted algorithms are ES256, ES384";
    assert!(told.to_string().ends_with(expected), "{told}");
    assert!(told.fix().contains("algorithms"), "{}", told.fix());
}

/// A key with the `kid` of the token, but for a different algorithm, did not sign the token. The issuer may have a new
/// key with this `kid`.
#[tokio::test]
async fn v58_a_key_of_another_algorithm_does_not_stop_a_fetch() {
    let [elliptic, earlier, newer] = [Algorithm::Es256, Algorithm::Rs256, Algorithm::Rs256].map(signer);
    let named = |jwk: &Value| {
        let mut jwk = jwk.clone();
        jwk["kid"] = json!(KID);
        jwk
    };
    let (documents, clock) = (Documents::default(), At::now());
    let (well_known, jwks) = (format!("{ISSUER}/.well-known/openid-configuration"), format!("{ISSUER}/jwks"));
    documents.set(&well_known, &json!({ "issuer": ISSUER, "jwks_uri": jwks }));
    documents.set(&jwks, &json!({ "keys": [named(&elliptic.jwk), earlier.jwk] }));
    let verifier = fetching(&documents, &clock, [Algorithm::Es256, Algorithm::Rs256]);
    let token = signed(&newer, "RS256");
    let decide =
        async || code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await);
    assert_eq!((decide().await, documents.fetches()), ("bad_signature", 2));
    documents.set(&jwks, &json!({ "keys": [named(&elliptic.jwk), named(&newer.jwk)] }));
    clock.advance(30);
    assert_eq!((decide().await, documents.fetches()), ("accepted", 3));
}
